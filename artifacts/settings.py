"""Settings: the base of most parts of a recipe, and what of them stands in content keys.

A field that came later does not change the keys of those before. A key over settings holds every
field, so that another value is another key. With one more field all keys would change, and
everything under them would be made again, for users who never asked for the field. So a field added
to settings that are in use is marked, and a key holds it only where it differs from its default::

    class TrainSettings(BaseModel):
        seed: int = 1                              # in every key
        z_loss: Annotated[float, LATER] = 0.0      # in keys of those who set it

    @dataclass(frozen=True)
    class Limits:
        pages: int = field(default=0, metadata={LATER: True})

Its default must mean what was done before there was the field.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from artifacts.later import LATER as LATER
from artifacts.records import Record

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class Part(Record):
    """A part of a recipe that takes finite numbers alone."""

    model_config = ConfigDict(allow_inf_nan=False)


def key_settings(
    settings: BaseModel | DataclassInstance, exclude: Collection[str] = ()
) -> dict[str, Any]:
    """Settings as content keys hold them, plain JSON values: all fields, those marked as later only
    where they differ from their default; of settings in them likewise. ``exclude``: fields that
    decide nothing here.
    """
    if isinstance(settings, BaseModel):
        plain = settings.model_dump(mode="json", exclude=set(exclude))
    else:
        plain = {
            name: value
            for name, value in dataclasses.asdict(settings).items()
            if name not in exclude
        }
    _leave_out(settings, plain)
    return plain


def later_fields(kind: type[BaseModel | DataclassInstance]) -> dict[str, Any]:
    """Fields of a class of settings that are marked as later, with their defaults."""
    return dict(_later(kind))


def _leave_out(value: Any, plain: Any) -> None:
    """Take unchanged later fields out of the plain form of a value, at any depth."""
    if isinstance(value, BaseModel) or (
        dataclasses.is_dataclass(value) and not isinstance(value, type)
    ):
        defaults = later_fields(type(value))
        for name in [*plain]:
            own = getattr(value, name)
            if name in defaults and own == defaults[name]:
                del plain[name]
            else:
                _leave_out(own, plain[name])
    elif isinstance(value, dict):
        for inner, plain_inner in zip(value.values(), plain.values(), strict=True):
            _leave_out(inner, plain_inner)
    elif isinstance(value, list | tuple):
        for inner, plain_inner in zip(value, plain, strict=True):
            _leave_out(inner, plain_inner)


def _later(kind: type[BaseModel | DataclassInstance]) -> Iterator[tuple[str, Any]]:
    if issubclass(kind, BaseModel):
        for name, info in kind.model_fields.items():
            if LATER in info.metadata:
                yield name, info.get_default(call_default_factory=True)
    else:
        for field in dataclasses.fields(kind):
            if LATER in field.metadata:
                made = field.default_factory
                yield field.name, field.default if made is dataclasses.MISSING else made()
