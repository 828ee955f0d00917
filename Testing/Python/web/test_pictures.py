"""PNG and JPEG: pixels of no patient, in one large view."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytestmark = pytest.mark.browser


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_picture_has_pixels_and_no_patient_and_is_large(sample, tmp_path, ending):
    sitk = pytest.importorskip("SimpleITK")
    user = sample
    y, x = np.ogrid[:300, :400]
    path = tmp_path / f"photo.{ending}"
    disc = np.where((y - 150) ** 2 + (x - 200) ** 2 < 60**2, 220, 40).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(disc), str(path))
    user.send(path)
    user.wait("volume_name", "value === 'photo'")
    user.wait("layout", "value === 'Red'")
    assert user.state("volume_text") == "400 × 300 pixels"
    user.key("p")
    user.drag("Red", (0.5, 0.5))
    pixels = user.wait_for_volume()
    assert pixels == int(pixels)
    assert pixels == pytest.approx(np.pi * 60**2, rel=0.1)
    user.rest()
    shown = user.page.inner_text("body")
    assert re.findall(r"\b(ml|mm|axial)\b", shown) == []
    assert user.page.inner_text(".segments th.number >> nth=0") == "pixels"
    assert user.state("readout").startswith("pixel 200 150 ") or user.state("readout").startswith("pixel 199 149 ")
    assert user.page.locator(".letter").all_inner_texts() == [""] * 4
    assert user.page.locator("[data-view]").count() == 1
    user.picture(f"picture-{ending}")
    user.open_sample()
    user.wait("layout", "value === 'four'")
    assert "mm" in user.state("volume_text")
