"""What is wrong in a recipe, in the recipe's own terms, with file and line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import (
    BaseModel,
)
from pydantic_core import ErrorDetails

from artifacts.errors import UserError
from pipelines.recipe.yaml_lines import YamlFile


def of_branch(error: UserError, name: str) -> UserError:
    """An error about a phase, said of a branch's phase."""
    phases = "mixture.phases."
    field = error.field or ""
    return (
        error.changed(field=f"branches.{name}.{field.removeprefix('mixture.')}")
        if field.startswith(phases)
        else error
    )


def _placed(file: YamlFile, error: UserError) -> UserError:
    """The error of a part of the recipe, with its line; phases go by name there, by number in the
    file.
    """
    location: list[str | int] = []
    node: Any = file.plain()
    for part in (error.field or "").split("."):
        if isinstance(node, list):
            index = next(
                (
                    number
                    for number, entry in enumerate(node)
                    if isinstance(entry, dict) and entry.get("name") == part
                ),
                None,
            )
            if index is None:
                break
            location.append(index)
            node = node[index]
        elif isinstance(node, dict) and part in node:
            location.append(part)
            node = node[part]
        else:
            break
    return file.error(location, error.message, field=error.field, **_facts(error))


def _facts(error: UserError) -> dict[str, Any]:
    return {"found": error.found, "allowed": error.allowed, "fix": error.fix}


def _explained(
    file: YamlFile, model: type[BaseModel], error: ErrorDetails, above: tuple[str | int, ...]
) -> UserError:
    """The first of pydantic's complaints in the recipe's own terms."""
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
            message[:1].lower() + message[1:],
            "see docs/recipes.md for what this field takes",
        )
    return file.error(location, message, found=found, allowed=allowed, fix=fix)


def _written(file: YamlFile, location: Sequence[str | int]) -> tuple[str | int, ...]:
    """The part of a location that exists in the file."""
    node: Any = file.plain()
    for depth, part in enumerate(location):
        inside = (
            part in node
            if isinstance(node, dict)
            else isinstance(node, list) and isinstance(part, int) and part < len(node)
        )
        if not inside:
            return tuple(location[:depth])
        node = node[part]
    return tuple(location)


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
