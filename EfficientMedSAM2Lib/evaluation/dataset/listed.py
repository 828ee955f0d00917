"""Which images of a manifest an evaluation is about."""

from __future__ import annotations

import argparse

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.evaluation.dataset.manifest import Manifest, ManifestEntry, is_listed, read_manifest


def listed_entries(args: argparse.Namespace) -> tuple[Manifest, list[ManifestEntry]]:
    """Labelled entries of the split and the data sets that are asked for.

    Without a split it is `dev` of an index, and all of a folder, which says of no image that it was trained on.

    Raises:
        UserError: There is no manifest, no such data set, or no such entry.
    """
    manifest = read_manifest(args.manifest)
    if args.datasets:
        manifest = manifest.only(args.datasets)
    split = args.split or ("dev" if is_listed(args.manifest) else "all")
    entries = [entry for entry in manifest.select(labelled=True) if split in ("all", entry.split)]
    if not entries:
        raise UserError(f"{args.manifest} has no labelled image in split '{split}'; try --split all.")
    return manifest, entries
