"""Workers on this machine do what this run says, and nothing for other users of the machine."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("distributed", reason="needs the extra cohort")
from distributed import Client
from distributed.security import Security

from EfficientMedSAM2Lib.cohort.run.cluster import ClusterOptions, connect, trust


def plain(address):
    """Address as somebody without a key would use it."""
    return address.replace("tls://", "tcp://")


@pytest.mark.slow
def test_nobody_else_runs_code_on_the_cluster():
    """Another user of the machine knows the ports of scheduler and worker: neither runs anything for them."""
    with connect(ClusterOptions(workers=1), threads=1, gpu=False) as client:
        assert client.submit(os.getpid).result(120) != os.getpid()
        information = client.scheduler_info()
        addresses = [information["address"], *information["workers"]]
        assert len(addresses) == 2
        for address in addresses:
            for target, security in ((plain(address), None), (address, Security.temporary())):
                with pytest.raises((OSError, ValueError, TypeError)):  # noqa: SIM117
                    with Client(target, security=security, timeout=4, set_as_default=False) as stranger:
                        stranger.run_on_scheduler(os.getpid)
        assert client.submit(os.getpid, pure=False).result(120) != os.getpid()


def test_what_is_trusted_of_a_given_scheduler_is_said(cohort):
    from distributed import LocalCluster

    cohort.add("a")
    said = []
    with LocalCluster(1, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address=None) as cluster:
        cohort.run(cluster=ClusterOptions(scheduler=cluster.scheduler_address), announce=said.append)
    assert "can run code" in said[0]
    assert "certificates" in trust("tls://10.0.0.5:8786")
