"""A page to try the network on one picture or scan; a prompt is a click or a dragged box, the answer a mask.

pip install streamlit
streamlit run efficient_medsam2/examples/web_interface.py

`efficient-medsam2 web` is the larger interface, with Slicer's views, several segments and undo.
"""

from __future__ import annotations

import base64
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
import streamlit.components.v1 as components
from PIL import Image, ImageDraw

from EfficientMedSAM2Lib import (
    EfficientMedSAM2ImagePredictor,
    EfficientMedSAM2VolumePredictor,
    InteractiveSession,
    build_efficient_medsam2_model,
)
from EfficientMedSAM2Lib.core.windows import IntensityWindow, apply_window, choose_window
from EfficientMedSAM2Lib.imaging.formats.npz import write_npz
from EfficientMedSAM2Lib.imaging.segmentations import Segment, write_segmentation
from EfficientMedSAM2Lib.imaging.volumes import Volume, read_volume

ENDINGS = ["nii", "gz", "nrrd", "mha", "npz", "png", "jpg", "jpeg", "bmp", "tif", "dcm"]
AXES = {"k (first)": 0, "j (second)": 1, "i (third)": 2}
WIDTH = 640
MASK_COLOR, POSITIVE, NEGATIVE, BOX = (64, 200, 255), (80, 255, 80), (255, 80, 80), (255, 212, 42)

prompt_on_image = components.declare_component("image_prompt", path=str(Path(__file__).parent / "image_prompt"))


@st.cache_resource(show_spinner="Loading the network ...")
def load_model(encoder: str, weights: str, half_precision: bool) -> Any:
    """The network, once for all who use the page with the same settings."""
    return build_efficient_medsam2_model(encoder, weights or None, "auto", half_precision, runtime="auto")


@st.cache_data(show_spinner="Reading the file ...", max_entries=2)
def load_volume(name: str, content: bytes) -> tuple[Volume, IntensityWindow]:
    """A scan or picture that was sent, and the intensities it is shown with."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(name).name
        path.write_bytes(content)
        volume = read_volume(path)
    window = IntensityWindow(*volume.window) if volume.window else choose_window(volume.array, volume.modality)
    return volume, window


def painted(image: np.ndarray, window: IntensityWindow, mask: np.ndarray | None, prompts: dict[str, Any]) -> str:
    """A slice (H,W) or (H,W,3) with its mask and prompts, as an address of a PNG."""
    shown = (apply_window(image, window) * 255).astype(np.uint8)
    shown = shown if shown.ndim == 3 else np.repeat(shown[..., None], 3, axis=-1)
    if mask is not None:
        shown[mask] = (0.6 * shown[mask] + 0.4 * np.array(MASK_COLOR)).astype(np.uint8)
    picture = Image.fromarray(shown)
    draw, radius = ImageDraw.Draw(picture), max(1, picture.width // 100)
    for (x, y), positive in prompts["points"]:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=POSITIVE if positive else NEGATIVE)
    if prompts["box"]:
        draw.rectangle(prompts["box"], outline=BOX)
    return "data:image/png;base64," + base64.b64encode(png(picture)).decode()


def png(picture: Image.Image) -> bytes:
    """Bytes of a PNG file."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def segment(
    model: Any, image: np.ndarray, window: IntensityWindow, spacing: tuple[float, float], prompts: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Masks (C,H,W) bool and scores (C,) for the prompts of a slice, the surest first."""
    predictor = EfficientMedSAM2ImagePredictor(model)
    predictor.set_image(image, window=window, spacing=spacing)
    masks, scores, _ = predictor.predict(
        point_coords=np.array([xy for xy, _ in prompts["points"]], float) if prompts["points"] else None,
        point_labels=np.array([int(positive) for _, positive in prompts["points"]]) if prompts["points"] else None,
        box=np.array(prompts["box"], float) if prompts["box"] else None,
        multimask_output=prompts["box"] is None and len(prompts["points"]) == 1,
    )
    order = np.argsort(-scores)
    return np.asarray(masks)[order] > 0, scores[order]


def propagate(
    model: Any, volume: Volume, window: IntensityWindow, axis: int, index: int, mask: np.ndarray
) -> np.ndarray:
    """The object in the whole volume (D,H,W) bool, from its mask on one slice."""
    session = InteractiveSession(EfficientMedSAM2VolumePredictor(model))
    session.set_image(volume.array, volume.ijk_to_ras, window=window)
    session.add_initial_seg_interaction(mask, axis=axis, index=index)
    updates, bar = session.propagate("1", axis=axis), st.progress(0.0, "Propagating ...")
    for count, update in enumerate(updates, start=1):
        bar.progress(min(1.0, count / max(1, updates.total)), f"Slice {update.index}")
    bar.empty()
    return session.mask("1")


def file_of_mask(mask: np.ndarray, volume: Volume, ending: str) -> bytes:
    """A mask (D,H,W) as bytes of a file with an ending."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"mask{ending}"
        if ending == ".npz":
            write_npz(path, mask.astype(np.uint8), volume.axes)
        else:
            write_segmentation(path, [Segment("mask", mask)], volume)
        return path.read_bytes()


def chosen_slice(volume: Volume) -> tuple[int, int]:
    """Axis and number of the slice that is shown."""
    if volume.shape_kji[0] == 1:
        return 0, 0
    axis = AXES[st.radio("Slice axis", list(AXES), horizontal=True)]
    last = volume.shape_kji[axis] - 1
    return axis, st.slider("Slice", 0, max(last, 1), last // 2, key=f"slice-{axis}")


def take_prompt(prompts: dict[str, Any], event: dict[str, Any] | None, positive: bool) -> bool:
    """Add what was clicked or drawn, once; whether there was something new."""
    if not event or event["id"] == st.session_state.get("last_event"):
        return False
    st.session_state["last_event"] = event["id"]
    if "box" in event:
        prompts.update(box=event["box"], points=[])
    else:
        prompts["points"].append((tuple(event["point"]), positive))
    return True


def main() -> None:
    """The page."""
    st.set_page_config(page_title="EfficientMedSAM2", layout="wide")
    st.title("EfficientMedSAM2")
    with st.sidebar:
        encoder = st.selectbox("Encoder", ["efficientnet", "mobilenet"])
        weights = st.text_input("Weights (.pth, .safetensors)", help="Empty: those that come with the program.")
        half_precision = st.checkbox("Half precision", value=True)
    if not st.get_option("server.address"):  # an older Streamlit, which does not read the config beside this script
        st.warning("Other machines can open this page; start it with --server.address 127.0.0.1 to prevent that.")
    sent = st.file_uploader("Picture or scan (NIfTI, NRRD, MHA, NPZ, PNG, JPEG)", type=ENDINGS)
    if sent is None:
        st.info("Open a picture or a scan. Then click on a structure, or drag a box around it.")
        return
    try:
        model = load_model(encoder, weights.strip(), half_precision)
        volume, window = load_volume(sent.name, sent.getvalue())
        work(model, volume, window, f"{sent.file_id}-{encoder}-{weights}")
    except ValueError as error:
        st.error(str(error))


def work(model: Any, volume: Volume, window: IntensityWindow, file_key: str) -> None:
    """One slice with its prompts and mask, and what can be done with them."""
    axis, index = chosen_slice(volume)
    image = np.take(volume.array, index, axis=axis)
    spacing_kji = np.linalg.norm(volume.ijk_to_ras[:3, :3], axis=0)[::-1]
    row_mm, column_mm = (float(mm) for number, mm in enumerate(spacing_kji) if number != axis)
    place = f"{file_key}-{axis}-{index}"
    prompts = st.session_state.setdefault(place, {"points": [], "box": None})
    result_key = f"{file_key}-volume"

    left, right = st.columns([2, 1])
    with right:
        positive = st.radio("A click says", ["this is it", "not here"], horizontal=True) == "this is it"
        if st.button("Clear prompts"):
            prompts.update(points=[], box=None)
    mask, scores, masks = None, None, None
    if prompts["box"] or any(is_positive for _, is_positive in prompts["points"]):
        masks, scores = segment(model, image, window, (row_mm, column_mm), prompts)
        with right:
            names = [f"mask {number}, score {score:.2f}" for number, score in enumerate(scores, start=1)]
            mask = masks[names.index(st.radio("Mask", names))]
    shown = mask
    if mask is None and result_key in st.session_state:
        shown = np.take(st.session_state[result_key], index, axis=axis)
    with left:
        event = prompt_on_image(
            image=painted(image, window, shown, prompts),
            size=[image.shape[1], image.shape[0]],
            width=WIDTH,
            key=f"picture-{place}",
        )
    if take_prompt(prompts, event, positive):
        st.rerun()
    with right:
        offer(model, volume, window, axis, index, mask, result_key)


def offer(
    model: Any, volume: Volume, window: IntensityWindow, axis: int, index: int, mask: np.ndarray | None, result_key: str
) -> None:
    """Downloads of the slice's mask, propagation, and downloads of its result."""
    if mask is not None:
        st.metric("Area", f"{np.count_nonzero(mask)} pixels")
        picture = png(Image.fromarray(mask.astype(np.uint8) * 255))
        st.download_button("Download mask (.png)", picture, f"{volume.name}_mask.png", "image/png")
        if volume.shape_kji[0] > 1 and st.button("Propagate through the volume"):
            st.session_state[result_key] = propagate(model, volume, window, axis, index, mask)
    if result_key in st.session_state:
        result = st.session_state[result_key]
        voxel_ml = abs(np.linalg.det(volume.ijk_to_ras[:3, :3])) / 1000
        st.metric("Volume", f"{np.count_nonzero(result) * voxel_ml:.2f} ml")
        for ending in (".npz", ".nii.gz", ".seg.nrrd"):
            content = file_of_mask(result, volume, ending)
            st.download_button(f"Download volume ({ending})", content, f"{volume.name}_mask{ending}")


if __name__ == "__main__":
    main()
