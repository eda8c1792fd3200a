"""The layouts that a model can be exported to and imported from, by name.

    granite   IBM's Granite: MiniCPM's multipliers as settings; stock transformers and vLLM load it
    llama     plain Llama: the multipliers are folded into the weights and cannot be told again
    minicpm   MiniCPM's own settings; its authors' code, vLLM and llama.cpp load it

A layout says which settings a model has there, and what tensors are multiplied by on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from artifacts.errors import UserError
from trainer.export.granite import Granite
from trainer.export.llama import Llama
from trainer.export.minicpm import MiniCPM
from trainer.export.names import Factors
from trainer.shapes.config import ModelConfig


class Layout(Protocol):
    """One layout. ``folded``: whether it has no place for the multipliers."""

    name: str
    model_type: str
    architecture: str
    folded: bool

    def check(self, config: ModelConfig) -> None:
        """Raises: UserError where the layout has no place for something of the model."""
        ...

    def settings(self, config: ModelConfig) -> dict[str, Any]:
        """Entries of ``config.json`` that are the layout's own."""
        ...

    def factors(self, config: ModelConfig, tied: bool) -> Factors:
        """What tensors are multiplied by; ``tied``: whether head and embedding are one table."""
        ...

    def read(
        self, values: Mapping[str, Any], shape: Mapping[str, Any], file: str
    ) -> tuple[dict[str, Any], Factors]:
        """The settings of a model of ``shape`` that ``config.json`` holds in this layout's way, and
        what its tensors are multiplied by. Raises: UserError for what models here do not have.
        """
        ...


LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (Granite(), Llama(), MiniCPM())}


def layout_named(name: str) -> Layout:
    """Raises: UserError for another name."""
    if name not in LAYOUTS:
        raise UserError("no such layout", parameter="layout", found=name, allowed=LAYOUTS)
    return LAYOUTS[name]


def layout_of(values: Mapping[str, Any], file: str) -> Layout:
    """The layout of a ``config.json``. Raises: UserError for an architecture that is none of
    these.
    """
    named = values.get("architectures")
    known = {layout.architecture: layout for layout in LAYOUTS.values()}
    kinds = {layout.model_type: layout for layout in LAYOUTS.values()}
    if isinstance(named, list) and len(named) == 1 and str(named[0]) in known:
        return known[str(named[0])]
    if not named and str(values.get("model_type")) in kinds:
        return kinds[str(values["model_type"])]
    raise UserError(
        "a model of this architecture cannot be taken over",
        file=file,
        field="architectures",
        found=named if named else values.get("model_type"),
        allowed=known,
        fix="convert it to one of these, or take another model",
    )
