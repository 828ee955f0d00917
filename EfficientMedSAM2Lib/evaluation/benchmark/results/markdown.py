"""Tables in Markdown, and the block of a document that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.evaluation.benchmark.networks import ORIGINALS, OURS, TITLES
from EfficientMedSAM2Lib.evaluation.benchmark.results.bar import bar
from EfficientMedSAM2Lib.evaluation.benchmark.results.summary import MEASURES, Measure, Statistic, Summary

BEGIN = "<!-- written by `efficient-medsam2 benchmark --document`: begin -->"
END = "<!-- written by `efficient-medsam2 benchmark --document`: end -->"
MARKS = {True: "yes", False: "**no**", None: ""}


def report(summary: Summary, setting: str, notes: Sequence[str] = (), pictures: Sequence[str] = ()) -> str:
    """All tables: the bar, the measures, ratios, and what a propagated slice is spent in.

    Args:
        summary: What was measured.
        setting: A sentence about machine and scan.
        notes: What a reader must know of this run.
        pictures: Names of image files to be shown.
    """
    parts = [setting, *notes, "### Demanded and measured", bar_table(summary)]
    parts += ["### Time, memory and accuracy", measures_table(summary)]
    parts += [f"![{Path(name).stem.replace('-', ' ')}]({name})" for name in pictures]
    ratios = ratio_table(summary)
    parts += ["### How many times as much as ours", ratios] if ratios else []
    shares = parts_table(summary)
    parts += ["### What a propagated slice is spent in", shares] if shares else []
    return "\n\n".join(part for part in parts if part) + "\n"


def bar_table(summary: Summary) -> str:
    """Demanded, measured and met, for each of our networks."""
    ours = [network for network in summary.networks() if network in OURS]
    if not ours:
        return ""
    columns = {network: bar(summary, network) for network in ours}
    lines = [_row(["demanded", *(cell for n in ours for cell in (TITLES[n], "met"))]), _rule(1 + 2 * len(ours))]
    for number, demand in enumerate(columns[ours[0]]):
        found = [columns[network][number] for network in ours]
        lines.append(_row([demand.text, *(cell for one in found for cell in (one.measured, MARKS[one.met]))]))
    return "\n".join(lines)


def measures_table(summary: Summary) -> str:
    """A line per measure, medians with least and most."""
    networks = summary.networks()
    lines = [_row(["", *(TITLES[network] for network in networks)]), _rule(1 + len(networks))]
    for name, measure in MEASURES.items():
        for title, length in _lengths(summary, measure):
            found = [summary.statistic(network, name, length) for network in networks]
            if any(one is not None for one in found):
                lines.append(_row([title, *(_cell(one, measure.digits) for one in found)]))
    return "\n".join(lines)


def ratio_table(summary: Summary) -> str:
    """What the originals need over what our first network needs; rates are turned round."""
    ours = next((network for network in summary.networks() if network in OURS), None)
    others = [network for network in summary.networks() if network in ORIGINALS]
    if ours is None or not others:
        return ""
    lines = [_row([f"over {TITLES[ours]}", *(TITLES[network] for network in others)]), _rule(1 + len(others))]
    for name, measure in MEASURES.items():
        for title, length in _lengths(summary, measure) if measure.has_ratio else ():
            found = []
            for other in others:
                over, under = (other, name, length), (ours, name, length)
                found.append(summary.ratio(under, over) if measure.more_is_better else summary.ratio(over, under))
            if any(one is not None for one in found):
                shown = title if not measure.more_is_better else f"time for the same ({title})"
                lines.append(_row([shown, *(_cell(one, 1) for one in found)]))
    return "\n".join(lines)


def parts_table(summary: Summary) -> str:
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
        ValueError: The document is missing or has no such block.
    """
    content = check_document(document)
    head, _, rest = content.partition(BEGIN)
    tail = rest.partition(END)[2]
    with replacing(document) as temporary:
        temporary.write_text(f"{head}{BEGIN}\n{text.rstrip()}\n{END}{tail}", encoding="utf-8")


def check_document(document: Path) -> str:
    """Read a document that has a block to be replaced; ValueError when it has none."""
    content = document.read_text(encoding="utf-8") if document.is_file() else ""
    if not 0 <= content.find(BEGIN) < content.find(END):
        raise ValueError(f"{document} has no block to replace; write these two lines into it first: {BEGIN} {END}")
    return content


def _lengths(summary: Summary, measure: Measure) -> list[tuple[str, int | None]]:
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
