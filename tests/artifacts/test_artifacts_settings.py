"""A field that came later changes a key only where it is set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from artifacts.fingerprints import content_key
from artifacts.settings import LATER, key_settings, later_fields


@dataclass(frozen=True)
class Bounds:
    bytes: int = 3


@dataclass(frozen=True)
class LaterBounds(Bounds):
    pages: int = field(default=7, metadata={LATER: True})
    marks: list[int] = field(default_factory=lambda: [1], metadata={LATER: True})


class Shape(BaseModel):
    shape: str = "linear"
    final: float | None = None


class LaterShape(Shape):
    floor: Annotated[float, Field(ge=0), LATER] = 0.5


class Train(BaseModel):
    seed: int = 1
    decay: Shape = Shape()
    phases: tuple[Shape, ...] = ()
    by_name: dict[str, Shape] = {}
    betas: tuple[float, float] = (0.9, 0.95)
    anything: Any = None


class LaterTrain(BaseModel):
    seed: int = 1
    decay: LaterShape = LaterShape()
    phases: tuple[LaterShape, ...] = ()
    by_name: dict[str, LaterShape] = {}
    betas: tuple[float, float] = (0.9, 0.95)
    anything: Any = None
    clip: Annotated[float | None, LATER] = None
    third: Annotated[LaterShape, LATER] = LaterShape(shape="cosine")
    names: Annotated[list[str], LATER] = Field(default_factory=lambda: ["a"])


VALUES: list[dict[str, Any]] = [
    {},
    {"seed": 2, "decay": {"final": 0.25}},
    {"phases": [{}, {"shape": "cosine"}], "by_name": {"x": {}, "y": {"final": 1}}},
    {"anything": [{"clip": None}, {"floor": 0.5}]},
]


@pytest.mark.parametrize("values", VALUES)
def test_a_later_field_at_its_default_changes_no_key(values: dict[str, Any]) -> None:
    before, after = Train.model_validate(values), LaterTrain.model_validate(values)
    assert content_key(key_settings(before)) == content_key(key_settings(after))
    assert key_settings(before) == before.model_dump(mode="json")


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize(
    "later",
    [
        {"clip": 0.0},
        {"third": {}},
        {"third": {"shape": "cosine", "floor": 0.25}},
        {"names": []},
        {"decay": {"floor": 0.25}},
        {"phases": [{"floor": 1.0}]},
        {"by_name": {"x": {"floor": 1.0}}},
    ],
)
def test_another_value_of_a_later_field_changes_the_key(
    values: dict[str, Any], later: dict[str, Any]
) -> None:
    usual = LaterTrain.model_validate(values)
    other = LaterTrain.model_validate({**values, **later})
    assert content_key(key_settings(usual)) != content_key(key_settings(other))


def test_a_value_set_to_the_default_is_the_default() -> None:
    assert key_settings(LaterTrain(clip=None, names=["a"])) == key_settings(Train())


def test_only_what_was_set_is_added() -> None:
    found = key_settings(LaterTrain(decay=LaterShape(floor=0.25), clip=2.0))
    usual = key_settings(Train())
    assert found == {**usual, "clip": 2.0, "decay": {**usual["decay"], "floor": 0.25}}


def test_dataclasses_are_settings_too() -> None:
    assert key_settings(LaterBounds()) == key_settings(Bounds()) == {"bytes": 3}
    assert key_settings(LaterBounds(pages=8)) == {"bytes": 3, "pages": 8}
    assert key_settings(LaterBounds(marks=[2])) == {"bytes": 3, "marks": [2]}


def test_what_decides_nothing_is_left_out() -> None:
    found = key_settings(LaterTrain(), exclude={"anything", "by_name", "clip"})
    assert found.keys() == {"seed", "decay", "phases", "betas"}
    assert key_settings(LaterBounds(pages=8), exclude={"pages"}) == {"bytes": 3}


def test_later_fields_are_known_with_their_defaults() -> None:
    assert later_fields(Train) == {}
    assert later_fields(LaterTrain) == {
        "clip": None,
        "third": LaterShape(shape="cosine"),
        "names": ["a"],
    }
    assert later_fields(LaterBounds) == {"pages": 7, "marks": [1]}


def test_a_mark_is_not_seen_in_the_schema_of_a_recipe() -> None:
    schema = LaterTrain.model_json_schema()["properties"]["clip"]
    assert schema == {
        "anyOf": [{"type": "number"}, {"type": "null"}],
        "default": None,
        "title": "Clip",
    }
