"""The one base of settings and of files that describe others."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from artifacts.records import Record
from artifacts.settings import Part
from tests.source_trees import tree_of


class Wide(Record):
    number: float


class Narrow(Part):
    number: float


def test_an_unknown_field_is_refused_and_a_known_one_stays() -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Wide.model_validate({"number": 1.0, "nubmer": 2.0})
    with pytest.raises(ValidationError, match="frozen"):
        Wide(number=1.0).number = 2.0


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_a_part_takes_finite_numbers_alone(number: float) -> None:
    assert str(Wide(number=number).number) == str(number)
    with pytest.raises(ValidationError, match="finite_number"):
        Narrow(number=number)


def test_nobody_else_says_what_a_record_is(root: Path) -> None:
    """A class that forbids unknown fields by itself is a second base."""
    floors = ("artifacts", "dedup", "tokenizer", "mixtures", "trainer", "pipelines")
    saying = {
        str(path.relative_to(root))
        for floor in floors
        for path in (root / floor).rglob("*.py")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "ConfigDict"
        and {"frozen", "extra"} & {keyword.arg for keyword in node.keywords}
    }
    assert saying == {"artifacts/records.py"}
