"""The page of designs: of each kind of experiment what it asks, its fields, and an example.

    PYTHONPATH=. python docs/make_designs.py

Writes ``docs/designs.md`` from the docstrings and fields of :data:`DESIGNS` and from the examples
in ``recipes/experiments``.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from trainer.experiments.design import Design
from trainer.experiments.designs.catalogue import DESIGNS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "designs.md"
EXAMPLES = ROOT / "recipes" / "experiments"


def page() -> str:
    """The page as text."""
    kinds = sorted(DESIGNS)
    links = "\n".join(f"- [{kind}](#{kind}): {DESIGNS[kind].summary}" for kind in kinds)
    parts = [_section(kind, DESIGNS[kind]) for kind in kinds]
    return (
        "# Designs\n\nMade by `docs/make_designs.py`; do not edit. What an experiment's file says "
        "beside its `design` stands in [experiments](experiments.md).\n\n"
        f"{links}\n\n" + "\n".join(parts)
    )


def _section(kind: str, design: type[Design]) -> str:
    module = inspect.getdoc(sys.modules[design.__module__]) or ""
    example = EXAMPLES / f"{kind}.yaml"
    shown = f"\n```yaml\n{example.read_text()}```\n" if example.exists() else ""
    return (
        f"## {kind}\n\n{_prose(module)}\n\n{_prose(inspect.getdoc(design) or '')}\n\n"
        f"{_fields(design)}\n{_parts(design)}{shown}"
    )


def _fields(model: type[BaseModel]) -> str:
    rows = [
        f"| `{name}` | {_default(field.get_default(call_default_factory=True))} |"
        for name, field in model.model_fields.items()
    ]
    return "\n".join(["| field | default |", "|---|---|", *rows, ""])


def _parts(design: type[Design]) -> str:
    """Tables of the parts of a design's settings that are records of their own."""
    found = []
    for field in design.model_fields.values():
        for part in _models(field.annotation):
            text = f"`{part.__name__}`: {_prose(inspect.getdoc(part) or '')}\n\n{_fields(part)}"
            if text not in found:
                found.append(text)
    return "".join(f"\n{text}" for text in found)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    inner = getattr(annotation, "__args__", ())
    return [model for one in inner if one is not Ellipsis for model in _models(one)]


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    return "none" if value is None else f"`{json.dumps(_plain(value), ensure_ascii=False)}`"


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _prose(text: str) -> str:
    """A docstring as Markdown: roles as code, and no drawing or example."""
    blocks = [block for block in text.split("\n\n") if not block.startswith((" ", ">>>"))]
    plain = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", "\n\n".join(blocks))
    return plain.replace("``", "`")


def main() -> None:
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
