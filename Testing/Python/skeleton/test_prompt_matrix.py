"""Every kind of prompt is tested in every front end: prompt_kinds.py has the list, each front end a file."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import get_args

from prompt_kinds import EXCLUDING, FRONT_ENDS, KINDS

TESTS = Path(__file__).resolve().parents[1]


def test_all_kinds_of_prompts_are_in_the_matrix():
    from EfficientMedSAM2Lib.interaction.prompts import Prompt

    classes = get_args(Prompt)
    assert sorted(KINDS) == sorted(one.kind for one in classes)
    signed = [one.kind for one in classes if "positive" in {field.name for field in fields(one)}]
    assert sorted(EXCLUDING) == sorted(signed)


def test_each_front_end_is_tested_with_all_of_them():
    for room in FRONT_ENDS:
        text = (TESTS / room / "test_prompt_kinds.py").read_text(encoding="utf-8")
        assert "@every_kind\n" in text, room
        assert "@every_excluding_kind\n" in text, room
