"""Runs a cohort in a process of its own, to be killed: MANIFEST OUTPUT ENGINE WORKERS or tcp://SCHEDULER."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def main(manifest, output, engine, where):
    from EfficientMedSAM2Lib.cohort.manifest.read import read_cohort_manifest
    from EfficientMedSAM2Lib.cohort.records.settings import RunSettings
    from EfficientMedSAM2Lib.cohort.run.cluster import ClusterOptions
    from EfficientMedSAM2Lib.cohort.run.cohort import run_cohort

    options = ClusterOptions(scheduler=where) if where.startswith("tcp://") else ClusterOptions(int(where))
    settings = RunSettings(engine=engine, pictures=False)
    summary = run_cohort(read_cohort_manifest(manifest), Path(output), settings, options)
    print(len(summary.outcomes), len(summary.failed), summary.left, summary.stopped)


if __name__ == "__main__":
    main(*sys.argv[1:])
