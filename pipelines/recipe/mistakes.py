"""What is wrong in a recipe, in the recipe's own terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import (
    BaseModel,
)
from pydantic_core import ErrorDetails

from artifacts.errors import Address, Move, UserError
from pipelines.recipe.yaml_lines import YamlFile

PHASES: Address = ("mixture", "phases")


def in_branch(name: str) -> Move:
    """From phases of a mixture, where every phase believes itself, to those of a branch."""

    def move(address: Address) -> Address:
        ours = address[: len(PHASES)] == PHASES
        return ("branches", name, *address[1:]) if ours else address

    return move


def explained(
    file: YamlFile, model: type[BaseModel], error: ErrorDetails, above: Address
) -> UserError:
    """The first of pydantic's complaints in the recipe's own terms, with its address there."""
    location = (*above, *error["loc"])
    if error["type"] not in ("missing", "extra_forbidden"):
        location = _written(file, location)  # without pydantic's names for the members of a union
    allowed: list[str] | None = None
    found: object = error["input"]
    message, fix = error["msg"], None
    if error["type"] == "extra_forbidden":
        message, found, allowed = (
            "unknown field",
            error["loc"][-1],
            _fields_at(model, error["loc"][:-1]),
        )
        fix = "use one of the fields above"
    elif error["type"] == "missing":
        message, found, fix = "a field is missing", None, f"add {error['loc'][-1]}"
    elif error["type"] == "literal_error":
        allowed = [
            value.strip("'") for value in error["ctx"]["expected"].replace(" or ", ", ").split(", ")
        ]
        message, fix = "not an allowed value", "use one of the values above"
    else:
        message, fix = (
            message[:1].lower() + message[1:].replace("valid tuple", "valid list"),
            file.documented,
        )
    return UserError(message, field=location, found=found, allowed=allowed, fix=fix)


def _written(file: YamlFile, location: Address) -> Address:
    """The part of a location that exists in the file."""
    node: Any = file.plain()
    for depth, part in enumerate(location):
        inside = (
            part in node
            if isinstance(node, dict)
            else isinstance(node, list) and isinstance(part, int) and part < len(node)
        )
        if not inside:
            return location[:depth]
        node = node[part]
    return location


def _fields_at(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """Names of the fields a model has at a location inside it."""
    current: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        annotation = current.model_fields[part].annotation
        current = next((kind for kind in _models(annotation)), current)
    return sorted(current.model_fields)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [
        model
        for inner in getattr(annotation, "__args__", ())
        if inner is not Ellipsis
        for model in _models(inner)
    ]
