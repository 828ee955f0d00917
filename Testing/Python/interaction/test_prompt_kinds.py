"""Every kind of prompt from Python: calls of `InteractiveSession`, with the shipped network."""

from __future__ import annotations

import numpy as np
import pytest
from prompt_kinds import (
    CENTRE,
    PLACES,
    SLICE,
    TAKEN_AWAY,
    check_slice,
    check_taken_away,
    check_volume,
    every_excluding_kind,
    every_kind,
    given_mask,
    ijk_to_ras,
    ras_of,
    scan,
)


@pytest.fixture(scope="module")
def shipped():
    from EfficientMedSAM2Lib.pipeline.engine import build_session

    return build_session()


@pytest.fixture
def session(shipped):
    shipped.set_image(scan(), ijk_to_ras(), modality="CT")
    return shipped


def give(session, kind, include=True):
    places = (PLACES if include else TAKEN_AWAY).get(kind, [])
    if kind == "point":
        session.add_point_interaction(places[0], include)
    elif kind == "box":
        box = [[low, high + 1] for low, high in zip(*places)]
        session.add_bbox_interaction(box, include)
    elif kind == "line":
        session.add_line_interaction(*places)
    elif kind == "mask":
        session.add_initial_seg_interaction(given_mask()[SLICE], index=SLICE)
    else:
        getattr(session, f"add_{kind}_interaction")(ras_of(places), include)


@pytest.mark.slow
@every_kind
def test_a_prompt_finds_the_ball(session, kind):
    give(session, kind)
    check_slice(session.mask())
    assert [prompt.kind for prompt in session.prompts()] == [kind]
    for _update in session.propagate():
        pass
    check_volume(session.mask())


@every_excluding_kind
def test_a_prompt_takes_away(session, kind):
    give(session, "box")
    give(session, kind, include=False)
    check_taken_away(session.mask(), kind)
    assert [prompt.positive for prompt in session.prompts()] == [True, False]


@pytest.mark.parametrize("kind", ["scribble", "lasso"])
def test_what_is_drawn_may_be_given_as_voxels(session, kind):
    drawn = np.zeros(session.shape_kji, np.uint8)
    if kind == "scribble":
        drawn[SLICE, CENTRE[1] - 1 : CENTRE[1] + 2, CENTRE[2] - 7 : CENTRE[2] + 8] = 1
    else:
        drawn[SLICE, 20:53, 10:43] = 1
    getattr(session, f"add_{kind}_interaction")(drawn)
    check_slice(session.mask())
