"""Tasks on the page: one is chosen of those that the server was started with, and its structure is proposed."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
from web_user import Gateway, User

from EfficientMedSAM2Lib.commands import web
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import sha256_of
from EfficientMedSAM2Lib.core.resources import shipped_weights
from EfficientMedSAM2Lib.runtimes.tasks import Task, write_task

SHAPE, MIDDLE, RADIUS = (12, 64, 64), (6, 30, 34), 10


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    web.add_arguments(parser)
    return web.build_config(parser.parse_args(arguments))


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """Files of two tasks that have added nothing to the shipped weights, which find a bright ball in whole slices all
    the same; a close look, for which a size has to be known, is what a task learns."""
    folder = tmp_path_factory.mktemp("tasks")
    for name, encoder, cases in (("ball", "mobilenet", 3), ("lump", "efficientnet", 5)):
        weights = sha256_of(shipped_weights(encoder))
        write_task(folder / f"{name}.task", Task(name, encoder, weights, cases))
    return [folder / "ball.task", folder / "lump.task"]


def test_several_tasks_may_be_given_and_what_is_none_is_refused_at_once(tasks, tmp_path):
    pytest.importorskip("trame_slicer", reason="needs the extra web")
    config = parsed(*(f"--task={path}" for path in tasks))
    assert config.tasks == tuple(map(str, tasks))
    assert "task" not in config.network
    assert parsed().tasks == ()
    (tmp_path / "broken.task").write_bytes(b"\xff" * 40)
    with pytest.raises(UserError, match="is not a task"):
        parsed(f"--task={tasks[0]}", f"--task={tmp_path / 'broken.task'}")


@pytest.fixture(scope="module")
def reader(browser, tasks, tmp_path_factory):
    """A reader of a server with both tasks, with a scan of a ball."""
    sitk = pytest.importorskip("SimpleITK")
    gateway = Gateway(tmp_path_factory.mktemp("gateway"), *(f"--task={path}" for path in tasks))
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    came = User(context.new_page(), gateway.url).come()
    ball = sum((axis - m) ** 2 for axis, m in zip(np.ogrid[tuple(map(slice, SHAPE))], MIDDLE)) <= RADIUS**2
    voxels = np.where(ball, 80, -80) + np.random.default_rng(0).normal(0, 8, SHAPE)
    image = sitk.GetImageFromArray(voxels.astype(np.int16))
    image.SetSpacing((1.0, 1.0, 3.0))
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    sitk.WriteImage(image, str(path))
    came.send(path)
    came.wait("volume_name", "value === 'scan'")
    yield came
    assert came.errors == []
    context.close()
    assert gateway.stop() == 0


@pytest.mark.slow
@pytest.mark.browser
def test_the_structure_is_proposed_dropped_and_accepted(reader):
    assert reader.page.locator("#task option").all_inner_texts() == [
        "any structure",
        "ball (3 cases)",
        "lump (5 cases)",
    ]
    assert reader.page.input_value("#task") == "1"
    reader.page.click("#propose")
    reader.wait("is_offered", "value === true")
    text = reader.wait("find_text", "value.startsWith('Proposal 1 of 1, score ')")
    assert abs(reader.state("slices")["Red"]["index"] - MIDDLE[0]) <= 1
    assert reader.page.inner_text("#propose") == "End the search"
    assert reader.page.inner_text(".find-text") == text
    reader.rest()
    reader.picture("propose")
    reader.key("Escape")
    reader.wait("message", "value.includes('1 found, 0 accepted')")
    assert [s["volume"] for s in reader.state("segments")] == ["0"]
    reader.page.click("#propose")
    reader.wait("is_offered", "value === true")
    reader.page.click(".pending >> text=Accept")
    reader.wait("segments", "Number(value[0].volume) > 0")
    assert reader.state("selected_name") == "ball"
    reader.wait("message", "value.includes('accepted on one slice; look at it, and press Propagate')")
    reader.command("undo")
    reader.wait("segments", "value[0].volume === '0'")


@pytest.mark.slow
@pytest.mark.browser
def test_another_task_is_chosen_and_any_structure_proposes_nothing(reader):
    reader.page.select_option("#task", "2")
    reader.wait("task", "value === 2")
    reader.wait("is_ready", "value === true")
    reader.rest()
    reader.page.click("#propose")
    reader.wait("is_offered", "value === true")
    reader.page.click(".pending >> text=Accept")
    reader.wait("segments", "Number(value.at(-1).volume) > 0")
    reader.page.select_option("#task", "0")
    reader.wait("task", "value === 0")
    reader.wait("is_ready", "value === true")
    reader.rest()
    assert reader.volume() > 0  # segments stay
    reader.page.click("#propose")
    said = reader.wait("message", "value.includes('task')")
    assert said == "No task is chosen, so there is no structure to be proposed; choose a .task file first."
    assert not reader.state("is_finding")
