"""The contact sheet: every case on one page, the least certain first, so that a reader looks at those.

Its HTML is put together here rather than by jinja2: the cohort panel writes it inside Slicer, which has no jinja2.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from EfficientMedSAM2Lib.cohort.records.folders import CASES, PICTURE
from EfficientMedSAM2Lib.cohort.records.outcome import CaseOutcome
from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.imaging.terminology import Color, segment_colors

FILE_NAME = "contact-sheet.html"
_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5em; background: #15181c; color: #e8e8e8; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(450px, 1fr)); gap: 14px; }
article { background: #22272e; border-radius: 6px; padding: 10px; }
article.failed { border-left: 4px solid #e66; } article.empty { border-left: 4px solid #eb3; }
img { width: 100%; image-rendering: auto; display: block; background: #000; }
h2 { font-size: 15px; margin: 0 0 6px; } p { margin: 4px 0 0; } a { color: #8cf; }
.note { color: #eb3; }
.swatch { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .4em; }
.score { float: right; font-variant-numeric: tabular-nums; }
"""


def confidence(outcome: CaseOutcome) -> float:
    """Dice to be expected of the worst segment of a case, 0 ... 1: 0 where one is empty, 1 where all were given."""
    scores = [segment.get("score_volume", segment["score_lowest"]) for segment in outcome.record.get("segments", ())]
    return min((1.0 if score is None else float(score) for score in scores), default=0.0)


def review_status(outcome: CaseOutcome) -> str:
    """What a list shows of a case: its confidence, or what a reader has made of it."""
    if outcome.record.get("corrected"):
        return "corrected"
    return "seen" if is_reviewed(outcome) else f"{confidence(outcome):.2f}"


def is_reviewed(outcome: CaseOutcome) -> bool:
    """Whether a reader has looked at the result, and has corrected it or left it as it is."""
    return bool(outcome.record.get("reviewed") or outcome.record.get("corrected"))


def by_uncertainty(outcomes: Sequence[CaseOutcome]) -> list[CaseOutcome]:
    """Finished cases, lowest confidence first; those that a reader has seen come after all others."""
    finished = (outcome for outcome in outcomes if not outcome.failed)
    return sorted(finished, key=lambda outcome: (is_reviewed(outcome), confidence(outcome), outcome.name))


def write_contact_sheet(folder: Path, outcomes: Sequence[CaseOutcome], title: str = "Cohort") -> None:
    """Write the page; it is one file that refers to the pictures of the cases, and runs nothing.

    Raises:
        UserError: It cannot be written.
    """
    done, failed = by_uncertainty(outcomes), [outcome for outcome in outcomes if outcome.failed]
    head = f"{len(done)} cases, lowest expected Dice first; {len(failed)} failed"
    articles = [_done(folder, outcome) for outcome in done] + [_failed(outcome) for outcome in failed]
    page = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{html.escape(title)}</h1><p>{head}. Left: the least certain slice. "
        "Right: the largest. Outlines have the colours of the list.</p>\n"
        f"<main>\n{chr(10).join(articles)}\n</main></body></html>\n"
    )
    with replacing(folder / FILE_NAME) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _done(folder: Path, outcome: CaseOutcome) -> str:
    name, place = html.escape(outcome.name), f"{CASES}/{quote(outcome.name)}"
    segments: list[dict[str, Any]] = outcome.record.get("segments", [])
    picture = ""
    if (folder / CASES / outcome.name / PICTURE).is_file():
        picture = f'<a href="{place}/"><img loading="lazy" src="{place}/{PICTURE}" alt="{name}"></a>'
    colors = segment_colors([s["segment"] for s in segments], [s.get("color") for s in segments])
    lines = "".join(f"<p>{_swatch(color)}{_line(segment)}</p>" for color, segment in zip(colors, segments))
    kind = ' class="empty"' if any(segment["empty"] for segment in segments) else ""
    score = f'<span class="score">{review_status(outcome)}</span>'
    notes = "".join(f'<p class="note">{html.escape(note)}</p>' for note in outcome.record.get("notes", ()))
    return f"<article{kind}><h2>{score}{name}</h2>{picture}{lines}{notes}</article>"


def _swatch(color: Color) -> str:
    """The legend of the picture: the colour of a segment's outline."""
    red, green, blue = (round(255 * value) for value in color)
    return f'<span class="swatch" style="background: rgb({red}, {green}, {blue})"></span>'


def _line(segment: dict[str, Any]) -> str:
    name = html.escape(segment["segment"])
    if segment["empty"]:
        return f"{name}: empty. {html.escape(segment.get('message') or '')}"
    text = f"{name}: {size_of(segment)}, {segment['slices']} slices"
    if segment["score_lowest"] is not None:
        text += f", lowest score {segment['score_lowest']:.2f} on slice {segment['slice_lowest']}"
    return text


def size_of(segment: dict[str, Any]) -> str:
    """Volume of a measured segment in ml; in voxels where the scan does not say how large one is."""
    return f"{segment['voxels']} voxels" if segment["volume_ml"] is None else f"{segment['volume_ml']:.4g} ml"


def _failed(outcome: CaseOutcome) -> str:
    return (
        f'<article class="failed"><h2>{html.escape(outcome.name)}</h2>'
        f"<p>failed ({html.escape(outcome.kind)}): {html.escape(outcome.reason)}</p></article>"
    )
