"""What the user has chosen in the panel, kept in Slicer's settings. The effect reads it when it is activated."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.core.errors import UserError

PREFIX = "EfficientMedSAM2/"
TASK_FOLDER = PREFIX + "task_folder"
ENCODERS = ("efficientnet", "mobilenet")
#: Windows that are no presets: chosen by the volume's modality and values; as the slice views show it; typed in.
AUTOMATIC, DISPLAYED, CUSTOM = "automatic", "displayed", "custom"


@dataclass(frozen=True)
class EngineSettings:
    """Choices for the network and for what it sees.

    Attributes:
        encoder: One of ENCODERS; with weights of the user's own, that of the file counts.
        weights: Path of a weights file of the user's own; empty for the shipped ones.
        device: "auto", "cuda", "mps" or "cpu".
        half_precision: Compute in half precision where that keeps the masks.
        window: AUTOMATIC, DISPLAYED, CUSTOM or the name of a preset of EfficientMedSAM2Lib.core.windows.
        window_low: Lower bound for CUSTOM, in the volume's units.
        window_high: Upper bound for CUSTOM.
        task: Path of a task: what the network has learnt of one structure; empty for any structure.
    """

    encoder: str = ENCODERS[0]
    weights: str = ""
    device: str = "auto"
    half_precision: bool = True
    window: str = AUTOMATIC
    window_low: float = -160.0
    window_high: float = 240.0
    task: str = ""

    @classmethod
    def load(cls) -> EngineSettings:
        """Read the application's settings."""
        import slicer

        converters = {"half_precision": slicer.util.toBool, "window_low": float, "window_high": float}
        values = {
            field.name: slicer.util.settingsValue(PREFIX + field.name, field.default, converters.get(field.name, str))
            for field in fields(cls)
        }
        return cls(**values)

    def save(self) -> None:
        """Write the application's settings."""
        import qt

        settings = qt.QSettings()
        for field in fields(self):
            value = getattr(self, field.name)
            settings.setValue(PREFIX + field.name, str(value).lower() if isinstance(value, bool) else value)

    def build_arguments(self) -> dict[str, Any]:
        """Arguments of ``build_efficient_medsam2_model``.

        Raises:
            UserError: The user's own weights file, or the task, cannot be used.
        """
        encoder = weights_facts(self.weights)["encoder_type"] if self.weights else self.encoder
        if self.task and not self.weights:  # a task knows which weights it belongs to
            encoder = task_facts(self.task)["encoder"]
        return {
            "encoder_type": encoder,
            "checkpoint": self.weights or None,
            "device": self.device,
            "use_half_precision": self.half_precision,
            "task": self.task or None,
        }

    def window_bounds(self, volume_node: Any) -> tuple[float, float] | None:
        """Lower and upper intensity for a volume node; None lets the engine choose by modality and values."""
        if self.window == CUSTOM:
            return self.window_low, self.window_high
        if self.window == DISPLAYED:
            display = volume_node.GetScalarVolumeDisplayNode() if volume_node is not None else None
            return (display.GetWindowLevelMin(), display.GetWindowLevelMax()) if display is not None else None
        if self.window == AUTOMATIC:
            return None
        from EfficientMedSAM2Lib.core.windows import preset_window

        preset = preset_window(self.window)
        return preset.low, preset.high


def weights_facts(path: str) -> dict[str, Any]:
    """Configuration and licence that a weights file states; needs no package, so that it works before the set-up.

    Raises:
        UserError: The file is missing, or is no weights file of this program.
    """
    if not Path(path).is_file():
        raise UserError(f"The weights file {path} does not exist; choose a .safetensors file.")
    try:
        notes = _notes(Path(path))
        config = json.loads(notes["config"])
        return {**config, "encoder_type": str(config["encoder_type"]), "licence": notes.get("licence", "not stated")}
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise UserError(
            f"{path} is no weights file of EfficientMedSAM2; choose a .safetensors file made by it."
        ) from error


def task_facts(path: str) -> dict[str, Any]:
    """What a task says of itself: name, encoder, cases and more; needs no package.

    Raises:
        UserError: The file is missing, or is no task.
    """
    if not Path(path).is_file():
        raise UserError(f"The task {path} does not exist; choose a .task file, or none.")
    try:
        known = json.loads(_notes(Path(path))["task"])
        return {**known, "name": str(known["name"]), "encoder": str(known["encoder"]), "cases": int(known["cases"])}
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise UserError(f"{path} is no task of EfficientMedSAM2; choose a .task file, or none.") from error


def known_tasks(chosen: str) -> list[tuple[str, str]]:
    """Path and text of the chosen task and of those in the folder that one was chosen from last, by name."""
    import slicer

    folder = str(Path(chosen).parent) if chosen else slicer.util.settingsValue(TASK_FOLDER, "", str)
    paths = {*(Path(folder).glob("*.task") if folder else ()), *([Path(chosen)] if chosen else ())}
    found = []
    for path in sorted(paths):
        try:
            facts = task_facts(str(path))
            found.append((str(path), f"{facts['name']} ({facts['cases']} cases)"))
        except (UserError, OSError):  # not a task, or gone; the chosen one is said elsewhere
            if str(path) == chosen:
                found.append((chosen, path.name))
    return found


def choose_task(path: str) -> None:
    """Keep a task, "" for any structure, as what the effect uses from now on.

    Raises:
        UserError: It is no task.
    """
    import qt

    if path:
        task_facts(path)
        qt.QSettings().setValue(TASK_FOLDER, str(Path(path).parent))
    replace(EngineSettings.load(), task=path).save()


def _notes(path: Path) -> dict[str, str]:
    """The metadata of a .safetensors file."""
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > path.stat().st_size:
            raise ValueError("the header is longer than the file")
        notes: dict[str, str] = json.loads(stream.read(length)).get("__metadata__", {})
        return notes
