"""Workers: a Dask cluster on this machine, or one that somebody already runs."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from EfficientMedSAM2Lib.cohort.worker.memory import BASE_BYTES
from EfficientMedSAM2Lib.core.errors import UserError

if TYPE_CHECKING:
    from distributed import Client

_LOCALHOST = "127.0.0.1"
_CONNECT_SECONDS = 20
#: How often Dask repeats a case whose worker died: never, the loop that hands out cases decides what to make of it.
_REPEATS = 0
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


@dataclass(frozen=True)
class ClusterOptions:
    """Where cases are computed.

    Attributes:
        workers: Number of processes on this machine; None by its memory and cores.
        memory_gb: Memory of each; None for an even share.
        scheduler: Address of a Dask scheduler, as ``tcp://host:8786``; None for workers on this machine.
        dashboard: Port of the Dask dashboard on this machine; None for any that is free.
        in_process: One worker inside this process, for debugging and tests.
    """

    workers: int | None = None
    memory_gb: float | None = None
    scheduler: str | None = None
    dashboard: int | None = None
    in_process: bool = False

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UserError(f"At least one worker is needed, not {self.workers}.")
        if self.memory_gb is not None and not self.memory_gb > 0:
            raise UserError(f"The memory of a worker must be a positive number of GB, not {self.memory_gb}.")
        if self.scheduler is not None and (self.workers is not None or self.memory_gb is not None):
            raise UserError("Workers and memory are set where the scheduler runs; leave them out with --scheduler.")


@contextmanager
def connect(options: ClusterOptions, threads: int, gpu: bool) -> Iterator[Client]:
    """A client of the cluster; a local one ends with the block.

    A local one listens on 127.0.0.1, and talks only to who has the key of this run.

    Args:
        options: What was asked for.
        threads: Threads of each worker's numerical libraries.
        gpu: Whether the network runs on a graphics card, which workers would have to share.

    Raises:
        UserError: No scheduler answers.
    """
    from distributed import Client

    with ExitStack() as stack:
        if options.scheduler is not None:
            try:
                client = Client(options.scheduler, timeout=_CONNECT_SECONDS)
            except (OSError, ValueError) as error:
                raise UserError(f"No Dask scheduler answers at {options.scheduler}; check that it runs.") from error
        else:
            client = Client(stack.enter_context(_local(options, threads, gpu)))
        yield stack.enter_context(client)


@contextmanager
def _local(options: ClusterOptions, threads: int, gpu: bool) -> Iterator[object]:
    import dask
    from distributed import LocalCluster, Security

    memory = f"{options.memory_gb}GB" if options.memory_gb else "auto"
    count = 1 if options.in_process else options.workers or worker_count(threads, gpu, options.memory_gb)
    environment = {f"distributed.nanny.pre-spawn-environ.{name}": threads for name in _THREAD_VARIABLES}
    with (
        tempfile.TemporaryDirectory(prefix="efficient-medsam2-") as scratch,
        dask.config.set(
            {
                **environment,
                "distributed.scheduler.allowed-failures": _REPEATS,
                # a volume is no intermediate result: nothing is spilled to disk, where Dask would pickle it
                "distributed.worker.memory.target": False,
                "distributed.worker.memory.spill": False,
                "distributed.worker.memory.pause": False,
            }
        ),
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=not options.in_process,
            memory_limit=memory,
            host=_LOCALHOST,
            # who may talk to a scheduler may run code as its user: only who has the key, which is in memory alone
            protocol="tls://",
            security=Security.temporary(),
            dashboard_address=f"{_LOCALHOST}:{options.dashboard or 0}",
            worker_dashboard_address=f"{_LOCALHOST}:0",
            local_directory=scratch,
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster


def worker_count(threads: int, gpu: bool, memory_gb: float | None = None) -> int:
    """How many workers this machine has cores and memory for; one where they would share a graphics card."""
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    each = memory_gb * 1e9 if memory_gb else BASE_BYTES
    return 1 if gpu else max(1, min(CPU_COUNT // threads, int(0.9 * MEMORY_LIMIT / each)))


def trust(scheduler: str) -> str:
    """What a run trusts that is given somebody's scheduler."""
    if scheduler.startswith("tls://"):
        return f"{scheduler} is trusted by the certificates of Dask's settings; its workers read and write the files."
    return (
        f"{scheduler} is not encrypted: everybody who reaches it can run code on its workers and change results. "
        "Use it inside of a closed network only, or give its tls:// address."
    )


def dashboard_link(client: Client) -> str | None:
    """Address of the dashboard, None where bokeh is not installed to draw it."""
    from importlib.util import find_spec

    return str(client.dashboard_link) if find_spec("bokeh") and client.dashboard_link else None
