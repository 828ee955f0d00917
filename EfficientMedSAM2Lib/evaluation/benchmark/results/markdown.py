"""Tables in Markdown, and the block of a document that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.evaluation.benchmark.networks import EFFICIENT_MEDSAM2, ORIGINALS, TITLES
from EfficientMedSAM2Lib.evaluation.benchmark.results.summary import MEASURES, BenchmarkSummary, Measure, Statistic

BEGIN = "<!-- written by `efficient-medsam2 benchmark --document`: begin -->"
END = "<!-- written by `efficient-medsam2 benchmark --document`: end -->"


def report(summary: BenchmarkSummary, setting: str, notes: Sequence[str] = (), pictures: Sequence[str] = ()) -> str:
    """All tables: the measures, ratios, and what a propagated slice is spent in.

    Args:
        summary: What was measured.
        setting: A sentence about machine and scan.
        notes: What a reader must know of this run.
        pictures: Names of image files to be shown.
    """
    parts = [setting, *notes, "### Time, memory and accuracy", measures_table(summary)]
    parts += [f"![{Path(name).stem.replace('-', ' ')}]({name})" for name in pictures]
    ratios = ratio_table(summary)
    parts += ["### How many times as much as EfficientMedSAM2", ratios] if ratios else []
    shares = parts_table(summary)
    parts += ["### What a propagated slice is spent in", shares] if shares else []
    return "\n\n".join(part for part in parts if part) + "\n"


def measures_table(summary: BenchmarkSummary) -> str:
    """A line per measure, medians with least and most."""
    networks = summary.networks()
    lines = [_row(["", *(TITLES[network] for network in networks)]), _rule(1 + len(networks))]
    for name, measure in MEASURES.items():
        for title, length in _lengths(summary, measure):
            found = [summary.statistic(network, name, length) for network in networks]
            if any(one is not None for one in found):
                lines.append(_row([title, *(_cell(one, measure.digits) for one in found)]))
    return "\n".join(lines)


def ratio_table(summary: BenchmarkSummary) -> str:
    """What the originals need over what the first variant of EfficientMedSAM2 needs; rates are turned round."""
    first = next((network for network in summary.networks() if network in EFFICIENT_MEDSAM2), None)
    others = [network for network in summary.networks() if network in ORIGINALS]
    if first is None or not others:
        return ""
    lines = [_row([f"over {TITLES[first]}", *(TITLES[network] for network in others)]), _rule(1 + len(others))]
    for name, measure in MEASURES.items():
        for title, length in _lengths(summary, measure) if measure.has_ratio else ():
            found = []
            for other in others:
                over, under = (other, name, length), (first, name, length)
                found.append(summary.ratio(under, over) if measure.more_is_better else summary.ratio(over, under))
            if any(one is not None for one in found):
                shown = title if not measure.more_is_better else f"time for the same ({title})"
                lines.append(_row([shown, *(_cell(one, 1) for one in found)]))
    return "\n".join(lines)


def parts_table(summary: BenchmarkSummary) -> str:
    """Milliseconds and share of each module."""
    lines = [_row(["", "ms a slice, of the whole"]), _rule(2)]
    for network in summary.networks():
        parts = summary.parts(network)
        total = sum(parts.values())
        if total > 0:
            shares = (f"{name.replace('_', ' ')} {ms:.1f} ({ms / total:.0%})" for name, ms in parts.items())
            lines.append(_row([TITLES[network], ", ".join(shares)]))
    return "\n".join(lines) if len(lines) > 2 else ""


def write_into(document: Path, text: str) -> None:
    """Replace the block of a document between the two marks; what stands around it stays.

    Raises:
        UserError: The document is missing or has no such block.
    """
    content = check_document(document)
    head, _, rest = content.partition(BEGIN)
    tail = rest.partition(END)[2]
    with replacing(document) as temporary:
        temporary.write_text(f"{head}{BEGIN}\n{text.rstrip()}\n{END}{tail}", encoding="utf-8")


def check_document(document: Path) -> str:
    """Read a document that has a block to be replaced; UserError when it has none."""
    content = document.read_text(encoding="utf-8") if document.is_file() else ""
    if not 0 <= content.find(BEGIN) < content.find(END):
        raise UserError(f"{document} has no block to replace; write these two lines into it first: {BEGIN} {END}")
    return content


def _lengths(summary: BenchmarkSummary, measure: Measure) -> list[tuple[str, int | None]]:
    if not measure.per_length:
        return [(measure.title, None)]
    return [(f"{measure.title}, {length} slices", length) for length in summary.lengths()]


def _cell(found: Statistic | None, digits: int) -> str:
    if found is None:
        return "–"
    median, least, most = (f"{value:.{digits}f}" for value in (found.median, found.least, found.most))
    return median if least == most else f"{median} ({least} to {most})"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _rule(columns: int) -> str:
    return "|---" + "|---:" * (columns - 1) + "|"
