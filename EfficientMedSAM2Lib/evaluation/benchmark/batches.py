"""Would objects decoded together be faster? `python -m EfficientMedSAM2Lib.evaluation.benchmark.batches`.

Prints how much of the processor's time decoding takes for many lesions, a click each, and how much less an object takes
when several are decoded at once. Time is that of the processor, so that other work on the machine hardly matters.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from EfficientMedSAM2Lib.evaluation.lesions import LesionPhantom, lesion_phantom
from EfficientMedSAM2Lib.evaluation.replaced import replaced
from EfficientMedSAM2Lib.interaction import PointPrompt
from EfficientMedSAM2Lib.models.bundles import DENSE_CHANNELS, ImageFeatures, PromptBatch

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.interaction import InteractiveSession
    from EfficientMedSAM2Lib.runtimes.onnx.onnx_network import OnnxNetwork

#: Numbers of objects that are decoded at once.
BATCHES = (1, 2, 4, 8)
ROUNDS = 15
#: What an object costs besides the features of its viewport.
DECODING = ("encode_prompts", "decode")


@dataclass(frozen=True)
class BatchTimes:
    """What decoding takes.

    Attributes:
        share_clicks: Of the processor's time of a click on each lesion, 0...1.
        share_propagation: Of that of their propagation.
        object_ms: Objects at once -> ms of the processor for each object.
    """

    share_clicks: float
    share_propagation: float
    object_ms: dict[int, float]

    @property
    def saved(self) -> float:
        """Share of decoding that the best number of objects at once saves, 0...1."""
        return 1 - min(self.object_ms.values()) / self.object_ms[1]

    def __str__(self) -> str:
        times = ", ".join(f"{count} at once {ms:.1f}" for count, ms in self.object_ms.items())
        return (
            f"Decoding takes {self.share_clicks:.0%} of the processor's time of the clicks and "
            f"{self.share_propagation:.0%} of that of propagation.\n"
            f"ms for each object: {times}.\n"
            f"All objects decoded together would save {self.saved * self.share_clicks:.0%} of the clicks' time and "
            f"{self.saved * self.share_propagation:.0%} of propagation's, at most."
        )


def measure_batches(session: InteractiveSession, phantom: LesionPhantom, rounds: int = ROUNDS) -> BatchTimes:
    """Measure on one thread for each graph.

    Args:
        session: On ONNX Runtime with two threads, so that each graph has one, whose time is all of its time.
        phantom: The lesions.
        rounds: How often each number of objects is decoded; medians count.
    """
    network = session.predictor.model  # type: ignore[attr-defined]
    clicks, propagation = _shares(session, network, phantom)
    return BatchTimes(clicks, propagation, _object_ms(network, rounds))


def _shares(session: InteractiveSession, network: OnnxNetwork, phantom: LesionPhantom) -> tuple[float, float]:
    spent: dict[str, float] = defaultdict(float)

    def timed(name: str) -> Callable[..., Any]:
        method = getattr(network, name)

        def run(*args: Any) -> Any:
            start = time.thread_time()  # the inference thread decodes as well
            result = method(*args)
            spent[name] += time.thread_time() - start
            return result

        return run

    def share(action: Callable[[], Any]) -> float:
        spent.clear()
        start = time.process_time()
        action()
        return sum(spent.values()) / (time.process_time() - start)

    session.set_image(phantom.volume, phantom.ijk_to_ras, modality="CT")
    axis = session.default_axis
    prompts = [PointPrompt((int(k), int(j), int(i)), True, axis) for k, j, i in phantom.centres]
    session.try_prompt(prompts[0])  # graphs are loaded by the first
    with ExitStack() as replacements:
        for name in DECODING:
            replacements.enter_context(replaced(network, name, timed(name)))
        return share(lambda: session.add_each_interaction(prompts)), share(lambda: list(session.propagate_each()))


def _object_ms(network: OnnxNetwork, rounds: int) -> dict[int, float]:
    """Processor time of decoding the same objects, so many at once; the numbers take turns."""
    config, random, most = network.config, np.random.default_rng(0), max(BATCHES)
    images = random.random((most, 3, config.image_size, config.image_size), np.float32)
    features = network.without_memory(network.encode_image(images))
    middle = np.full((most, 1, 2), config.image_size / 2, np.float32)
    dense = np.zeros((most, DENSE_CHANNELS, config.low_res_size, config.low_res_size), np.float32)
    no_box = np.full((most, 4), np.nan, np.float32)

    def decode(part: slice) -> None:
        labels = np.ones((part.stop - part.start, 1), np.int64)
        prompts = PromptBatch(middle[part], labels, no_box[part], dense=dense[part] if config.is_fine else None)
        seen = ImageFeatures(*(None if values is None else values[part] for values in features))
        network.decode(seen, network.encode_prompts(prompts))

    times: dict[int, list[float]] = defaultdict(list)
    for _ in range(rounds + 1):
        for count in BATCHES:
            start = time.process_time()
            for first in range(0, most, count):
                decode(slice(first, first + count))
            times[count].append(1000 * (time.process_time() - start) / most)
    return {count: float(np.median(values[1:])) for count, values in times.items()}  # the first one sets up


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    from EfficientMedSAM2Lib.pipeline.engine import build_session

    parser = argparse.ArgumentParser(description="What decoding several objects at once would save.")
    parser.add_argument("--lesions", type=int, default=20, metavar="N", help="of the phantom; default: 20")
    options = parser.parse_args(arguments)
    session = build_session(runtime="onnx", threads=2)
    sys.stdout.write(f"{measure_batches(session, lesion_phantom(options.lesions))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
