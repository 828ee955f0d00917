"""Pseudo labels: a teacher's masks on unlabelled images, kept where the teacher deserves trust.

``python -m EfficientMedSAM2Lib.learning.pseudo.labels --data-dir DATA --output OUT`` writes one ``.npz`` per slice
(`image` uint8 (H, W), `masks` packed bits with `shape` (N, H, W), `scores` (N,), `boxes` (N, 4)) and ``index.json``.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.files import output_folder, replacing
from EfficientMedSAM2Lib.evaluation.dataset.manifest import read_manifest
from EfficientMedSAM2Lib.learning.pseudo.filters import ULTRASOUND_RULES, TrustRules, distinct
from EfficientMedSAM2Lib.learning.pseudo.proposals import propose_boxes
from EfficientMedSAM2Lib.learning.pseudo.slices import (
    SliceRequest,
    plan_slices,
    prepare_slice,
    read_array,
)
from EfficientMedSAM2Lib.learning.pseudo.trusted_masks import TrustedMask, trusted_mask
from EfficientMedSAM2Lib.learning.teachers.choose import load_teacher
from EfficientMedSAM2Lib.learning.teachers.interface import Teacher
from EfficientMedSAM2Lib.models.builder import cpu_has_bfloat16
from EfficientMedSAM2Lib.pipeline.options import add_option

logger = logging.getLogger(__name__)
INDEX_EVERY = 10  # slices between two updates of index.json


def label_slice(
    image: np.ndarray,
    teacher: Teacher,
    rules: TrustRules,
    generator: np.random.Generator,
    box_count: int = 24,
    dark_only: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ask the teacher about every proposed box of a slice and keep what can be trusted.

    Args:
        image: (H, W) uint8.
        teacher: the network asked.
        rules: limits for a mask.
        generator: source of the jitter.
        box_count: number of proposals at most.
        dark_only: propose dark things only.

    Returns:
        masks (N, H, W) bool, scores (N,) float32 in 0..1, boxes (N, 4) XYXY that asked for them.
    """
    grey = image.astype(np.float32) / 255
    boxes = propose_boxes(grey, box_count, dark_only)
    trusted: list[TrustedMask] = []
    if len(boxes) == 0:
        return np.zeros((0, *image.shape), bool), np.zeros(0, np.float32), boxes
    embedding = teacher.encode(grey)
    for box in boxes:
        found = trusted_mask(teacher, embedding, box, grey, rules, generator)
        if found is not None:
            trusted.append(found)
    kept = distinct([found.mask for found in trusted], [found.score for found in trusted], rules)
    return (
        np.stack([trusted[i].mask for i in kept]) if kept else np.zeros((0, *image.shape), bool),
        np.asarray([trusted[i].score for i in kept], np.float32),
        np.asarray([trusted[i].box for i in kept], np.float32).reshape(-1, 4),
    )


def save_labels(path: Path, image: np.ndarray, masks: np.ndarray, scores: np.ndarray, boxes: np.ndarray) -> None:
    """Write the labels of a slice under a temporary name, then rename."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        packed = np.packbits(masks.reshape(-1))
        np.savez_compressed(file, image=image, masks=packed, shape=np.asarray(masks.shape), scores=scores, boxes=boxes)


def load_labels(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read what `save_labels` wrote: image (H, W) uint8, masks (N, H, W) bool, scores (N,)."""
    with np.load(path, allow_pickle=False) as data:
        shape = tuple(int(size) for size in data["shape"])
        bits = np.unpackbits(data["masks"], count=int(np.prod(shape)))
        return data["image"], bits.reshape(shape).astype(bool), data["scores"]


def requests(data_dir: Path, extra: tuple[str, ...], seed: int) -> list[SliceRequest]:
    """List all slices to label in random order, so that a run cut short has seen a bit of everything."""
    found: list[SliceRequest] = []
    for entry in read_manifest(data_dir).entries:
        wanted_extra = entry.split == "train" and any(entry.image.startswith(prefix) for prefix in extra)
        if entry.split != "unlabelled" and not wanted_extra:
            continue
        if entry.dim == 2:
            name = Path(entry.image).stem
            found.append(SliceRequest(name, entry, None, 0, None, "full"))
        else:
            few = 6 if wanted_extra else 14
            found += plan_slices(entry, read_array(data_dir / entry.image), few, 5)
    order = np.random.default_rng(seed).permutation(len(found))
    return [found[i] for i in order]


def label_all(
    todo: list[SliceRequest], data_dir: Path, output: Path, teacher: Teacher, rules: TrustRules, until: float
) -> Iterator[dict[str, Any]]:
    """Label slices until done or `until` (seconds of `time.time`), yielding the record of each."""
    volumes: dict[str, np.ndarray] = {}
    for request in todo:
        if time.time() > until:
            return
        path = output / f"{request.name}.npz"
        source = request.entry.image
        if path.exists():
            continue
        if source not in volumes:
            volumes[source] = read_array(data_dir / source)
        prepared = prepare_slice(request, volumes[source])
        if prepared is None:
            continue
        generator = np.random.default_rng(zlib.crc32(request.name.encode()))
        ultrasound = request.entry.modality.startswith("ultrasound")
        count = 12 if ultrasound else 24
        own_rules = ULTRASOUND_RULES if ultrasound else rules
        masks, scores, boxes = label_slice(prepared.image, teacher, own_rules, generator, count, ultrasound)
        save_labels(path, prepared.image, masks, scores, boxes)
        yield {
            "file": path.name,
            "source": source,
            "modality": request.entry.modality,
            "group": request.entry.group,
            "axis": request.axis,
            "index": request.index,
            "window": request.window,
            "window_name": request.window_name,
            "crop": prepared.crop,
            "spacing": prepared.spacing,
            "size": list(prepared.image.shape),
            "masks": len(masks),
            "teacher": teacher.name,
        }


def write_index(output: Path) -> None:
    """Join the records of all workers into index.json."""
    records = _records(output)
    with replacing(output / "index.json") as temporary:
        temporary.write_text(json.dumps(records, indent=0))


def _records(folder: Path) -> list[dict[str, Any]]:
    lines = (line for part in sorted(folder.glob("records_*.jsonl")) for line in part.read_text().splitlines(True))
    # A line without its end is still being written.
    return [json.loads(line) for line in lines if line.endswith("\n")]


def read_sources(folder: Path) -> dict[str, str]:
    """File name of a slice's labels -> path of its image in the manifest, from index.json and the workers' records."""
    index = folder / "index.json"
    records = [*(json.loads(index.read_text()) if index.is_file() else []), *_records(folder)]
    return {record["file"]: record["source"] for record in records}


def main(arguments: list[str] | None = None) -> None:
    """Run one worker; several share the slices through --worker and --workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_option(parser, "--data-dir", type=Path, required=True, help="folder with index.json")
    parser.add_argument("--output", type=Path, required=True)
    add_option(parser, "--teacher-checkpoint", type=Path, help="as for `distill`; default: LiteMedSAM")
    parser.add_argument("--extra", nargs="*", default=[], help="labelled training images to use too, by path prefix")
    parser.add_argument("--worker", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    add_option(parser, "--max-minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    until = time.time() + 60 * options.max_minutes
    output_folder(options.output)
    todo = requests(options.data_dir, tuple(options.extra), options.seed)[options.worker :: options.workers]
    logger.info("%d slices to label", len(todo))
    teacher = load_teacher(options.teacher_checkpoint, precision="bfloat16" if cpu_has_bfloat16() else "float32")
    records = options.output / f"records_{options.worker}.jsonl"
    done = masks = 0
    for record in label_all(todo, options.data_dir, options.output, teacher, TrustRules(), until):
        with records.open("a") as file:
            file.write(json.dumps(record) + "\n")
        done, masks = done + 1, masks + record["masks"]
        if done % INDEX_EVERY == 0:
            write_index(options.output)
            logger.info("%d of %d slices, %d masks", done, len(todo), masks)
    write_index(options.output)
    logger.info("finished: %d slices, %d masks", done, masks)


if __name__ == "__main__":
    main()
