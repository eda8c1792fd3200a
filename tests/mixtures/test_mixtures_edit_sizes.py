"""Edits of more tokens than there can be."""

from __future__ import annotations

from typing import Any

import pytest

from artifacts.errors import UserError
from mixtures.freeze.edit import Change, rest
from pipelines.commands.plan_changes import change_of
from tests.mixtures.test_mixtures_plan import DECAY, STABLE, plan_of


@pytest.mark.parametrize("text", ["stable=inf", "stable=nan", "stable=many", "stable", "=5"])
def test_what_is_no_number_of_tokens_is_refused(text: str) -> None:
    with pytest.raises(UserError) as raised:
        change_of([text], [], [], None, None)
    assert raised.value.field == "--lengthen"


@pytest.mark.parametrize("change", [Change(lengthen={"stable": 10**60}), Change(decay=10**60)])
def test_more_tokens_than_a_phase_may_have_are_refused(shards: Any, change: Change) -> None:
    with pytest.raises(UserError, match="as a phase may have"):
        rest(plan_of(shards, STABLE, DECAY), 3, change)
