"""Times of the page in a real browser: `python Testing/Python/web/measure.py`.

Starts the server on the sample scan, comes with headless Chromium, clicks, propagates and cancels as a reader does, in
several sessions one after the other, and prints medians. A click is timed from the press of the mouse until the mask
is in the picture that the browser shows. `--size 512 --slices 100` takes the sample made finer.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from conftest import BROWSERS, FLAGS
from web_user import REPOSITORY, Gateway, User

#: The reader looks at a slice for so long before a click, in seconds.
LOOK_S = 2.0
#: Places of the right lung in the axial view, as parts of its width and height, and the slices that are clicked on.
PLACE, SHARES = (0.346, 0.51), (0.50, 0.42, 0.58, 0.36, 0.64)
#: The heart on the middle slice.
BOX = (0.44, 0.22), (0.61, 0.60)
#: A mask is seen by so many more coloured pixels.
SEEN_PIXELS = 300
#: Watches what the browser shows: coloured pixels of the axial view, the text of the progress.
WATCH = """() => {
    const canvas = document.createElement("canvas"), pen = canvas.getContext("2d", {willReadFrequently: true});
    const colored = picture => {
        canvas.width = picture.naturalWidth, canvas.height = picture.naturalHeight;
        if (!canvas.width) return 0;
        pen.drawImage(picture, 0, 0);
        const data = pen.getImageData(0, 0, canvas.width, canvas.height).data;
        let count = 0;
        for (let n = 0; n < data.length; n += 4) count += data[n] - data[n + 2] > 40;
        return count;
    };
    const watch = window.watch = {
        wanted: false, pressed: 0, seen: 0, before: 0, source: "", texts: [], text: "", done: 0,
    };
    watch.expect = () => {
        const picture = document.querySelector("[data-view=Red] img");
        Object.assign(watch, {wanted: true, seen: 0, pressed: 0, source: picture.src, before: colored(picture)});
    };
    window.addEventListener("pointerdown", () => { watch.pressed = performance.now(); }, true);
    const look = () => {
        const text = document.querySelector(".progress span")?.textContent ?? "";
        if (text !== watch.text) watch.texts.push([performance.now(), watch.text = text]);
        const progress = window.trame.state.get("progress");
        if (progress) watch.done = progress.done;  // the last is that of the moment when cancelling began
        const picture = document.querySelector("[data-view=Red] img");
        if (watch.wanted && watch.pressed && picture.src !== watch.source) {
            watch.source = picture.src;
            if (colored(picture) > watch.before + SEEN_PIXELS) {
                watch.seen = performance.now();
                watch.wanted = false;
            }
        }
        requestAnimationFrame(look);
    };
    look();
}""".replace("SEEN_PIXELS", str(SEEN_PIXELS))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Times of the page in a real browser.")
    parser.add_argument(
        "--sessions", type=int, default=5, metavar="N", help="sessions, one after the other (default 5)"
    )
    parser.add_argument("--size", type=int, metavar="N", help="pixels of a slice's side; default: the sample as it is")
    parser.add_argument("--slices", type=int, metavar="N", help="slices; default: the sample as it is")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit("There is no Chromium here; .ci/install-browser installs it.")
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        scan = make_scan(Path(folder), options.size, options.slices)
        served = Gateway(Path(folder), "--sessions", "1", scan)
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        found = []
        try:
            for number in range(options.sessions):
                context = browser.new_context(viewport={"width": 1280, "height": 720})
                found.append(measure(User(context.new_page(), served.url), served))
                print(f"session {number + 1}: " + ", ".join(f"{k} {v:.2f}" for k, v in found[-1].items()), flush=True)
                context.close()
        finally:
            browser.close()
            served.stop()
    print(f"\n{os.cpu_count()} cores for the server and the browser; load {load:.1f} before the run.")
    print_table(found)
    return 0


def make_scan(folder: Path, size: int | None, slices: int | None) -> str:
    """The sample, or a finer one made of it; returns what the command line takes."""
    if size is None and slices is None:
        return "--sample"
    import SimpleITK as sitk

    from EfficientMedSAM2Lib.imaging.sample import sample_scan

    image = sitk.Cast(sitk.ReadImage(str(sample_scan())), sitk.sitkInt16)
    old = image.GetSize()
    new = [size or old[0], size or old[1], slices or old[2]]
    spacing = [step * before / after for step, before, after in zip(image.GetSpacing(), old, new)]
    shift = [(after - before) / 2 for before, after in zip(image.GetSpacing(), spacing)]
    origin = image.TransformContinuousIndexToPhysicalPoint([-s / step for s, step in zip(shift, image.GetSpacing())])
    finer = sitk.Resample(
        image, new, sitk.Transform(), sitk.sitkLinear, origin, spacing, image.GetDirection(), -1000, image.GetPixelID()
    )
    path = folder / "chest.nii.gz"
    sitk.WriteImage(finer, str(path))
    return str(path)


def measure(user: User, served: Gateway) -> dict[str, float]:
    """One session from its beginning to its end."""
    page = user.come().page
    user.wait("volume_name", "value !== ''")
    page.evaluate(WATCH)
    count = user.state("slices")["Red"]["last"] + 1
    clicks = [click(user, int(share * count)) for share in SHARES]
    user.command("add_segment")
    user.wait("segments", "value.length === 2 && value[1].selected")
    user.command("slice", "Red", int(0.5 * count))
    user.key("x")
    user.wait("tool", "value === 'box'")
    user.drag("Red", *BOX)
    user.wait_for_volume()
    user.rest()
    figures = {"first click, s": clicks[0], "later clicks, s": statistics.median(clicks[1:])}
    figures.update(propagate(user))
    user.rest()
    user.key("Control+z")
    user.rest()
    figures.update(cancel(user))
    figures["memory, MB"] = max(memory_mb(child) for child in children(served.process.pid))
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("[data-action=end]")
    page.wait_for_selector("text=The session has ended")
    return figures


def click(user: User, index: int) -> float:
    """Seconds from a click on a slice until its mask is seen."""
    page = user.page
    user.command("slice", "Red", index)
    user.wait("slices", f"value.Red.index === {index}")
    page.wait_for_timeout(1000 * LOOK_S)
    page.evaluate("window.watch.expect()")
    user.drag("Red", PLACE)
    page.wait_for_function("window.watch.seen > 0")
    times = page.evaluate("[window.watch.pressed, window.watch.seen]")
    user.rest()
    return (times[1] - times[0]) / 1000


def propagate(user: User) -> dict[str, float]:
    """How progress is shown, and how fast it is."""
    page = user.page
    page.evaluate("window.watch.texts = []")
    started = page.evaluate("performance.now()")
    user.key("m")
    user.wait("activity", "value === 'propagating'")
    user.wait("activity", "value === 'idle'")
    texts = page.evaluate("window.watch.texts")
    shown = [at for at, text in texts if text]
    rates = [float(found[1]) for _, text in texts if (found := re.search(r"([\d.]+)/s", text))]
    gaps = [after - before for before, after in zip([started, *shown], shown)]
    return {
        "propagation, slices/s": rates[-1],
        "progress shown, times/s": len(shown) / (shown[-1] - started) * 1000,
        "longest gap, s": max(gaps) / 1000,
    }


def cancel(user: User) -> dict[str, float]:
    """How soon a propagation ends, and with how many slices more than were done when the server was told."""
    user.key("m")
    user.wait("progress", "value && value.done >= 5")
    started = time.monotonic()
    user.key("m")
    user.wait("activity", "value === 'idle'")
    seconds = time.monotonic() - started
    told = user.page.evaluate("window.watch.done")
    user.rest()
    done = sum("none" not in bar[2].split() for bar in user.state("strip")) - 1
    return {"cancelled after, s": seconds, "slices after cancel": float(done - told)}


def children(pid: int) -> list[int]:
    """Processes started by a process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
        if parent == pid:
            found.append(int(stat.parent.name))
    return found


def memory_mb(pid: int) -> float:
    """Largest resident memory that a process has had."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def print_table(found: list[dict[str, float]]) -> None:
    """Median, smallest and largest of all sessions, as Markdown."""
    print(f"Median of {len(found)} sessions (smallest to largest):\n\n| | |\n|---|---|")
    for name in found[0]:
        values = [figures[name] for figures in found]
        digits = 0 if name.startswith(("memory", "slices after")) else 1 if name.endswith("/s") else 2
        low, middle, high = (f"{v:.{digits}f}" for v in (min(values), statistics.median(values), max(values)))
        print(f"| {name} | {middle} ({low} to {high}) |")


if __name__ == "__main__":
    assert REPOSITORY.is_dir()
    raise SystemExit(main())
