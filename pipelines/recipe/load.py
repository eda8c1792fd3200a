"""The recipe: one YAML file that says what a run does.

``load_recipe`` returns a validated :class:`Recipe`; anything wrong in the file is a
:class:`~artifacts.errors.UserError` with file, line, field, what was found and what is allowed.
``recipe_schema`` is the JSON Schema for editors.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fsspec.core import split_protocol
from pydantic import (
    ValidationError,
)

from artifacts.errors import UserError
from pipelines.recipe.fields import Branch, Recipe
from pipelines.recipe.mistakes import _explained, _facts, _placed
from pipelines.recipe.names import check_names
from pipelines.recipe.yaml_lines import GivenValues, YamlFile, dotted
from pipelines.stages import STAGES
from pipelines.stages.base import StageSettings


class LoadedRecipe:
    """A recipe with its stages, where it came from, and what its relative paths mean."""

    def __init__(
        self,
        recipe: Recipe,
        stages: tuple[tuple[str, StageSettings], ...],
        folder: str,
        file: YamlFile,
    ) -> None:
        self.recipe = recipe
        self.stages = stages  # (name, settings), names unique
        self.folder = folder
        self.file = file

    def resolved(self) -> dict[str, Any]:
        """The recipe with every default written out."""
        plain = self.recipe.model_dump(mode="json")
        plain["corpus"]["stages"] = [
            {stage.kind: stage.model_dump(mode="json", exclude_none=True)}
            for _, stage in self.stages
        ]
        return plain

    def error(self, location: Sequence[str | int], error: UserError) -> UserError:
        """A UserError raised behind the recipe, with the recipe's file and line put in."""
        elsewhere = (
            error.file is not None
            and error.file != str(self.file.path)
            and error.file not in error.message
        )
        message = f"{error.message} ({error.file})" if elsewhere else error.message
        root, *inside = (error.field or "").split(".")
        stage = (
            self.stages[location[2]][0]  # type: ignore[index]
            if location[:2] == ("corpus", "stages") and len(location) > 2
            else None
        )
        # it speaks of another part of the recipe
        if root in Recipe.model_fields and root not in (location[0], stage):
            place: list[str | int] = [root, *inside]
        else:  # of this one: PART.FIELD, of a stage NAME.FIELD
            place = [*location, *inside]
        return self.file.error(
            place, message, field=error.field or dotted(location), **_facts(error)
        )

    def placed(self, error: UserError) -> UserError:
        """The error of a part that names its field, with the recipe's file and line put in."""
        return _placed(self.file, error)


def load_recipe(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read and validate a recipe; ``overrides`` are ``a.b.c=value`` with YAML values.

    Raises: UserError for anything that is wrong with it.
    """
    return _loaded(YamlFile(Path(path), overrides))


def given_recipe(values: dict[str, Any], folder: str | os.PathLike[str] = ".") -> LoadedRecipe:
    """A recipe from plain values instead of a file; its relative paths start in ``folder``.

    Raises: UserError for anything that is wrong with it, without file and line.
    """
    return _loaded(GivenValues(values, Path(folder)))


def _loaded(file: YamlFile) -> LoadedRecipe:
    try:
        recipe = Recipe.model_validate(file.plain())
    except ValidationError as error:
        raise _explained(file, Recipe, error.errors()[0], ()) from None
    except UserError as error:  # of a part that explains itself
        raise _placed(file, error) from None
    loaded = LoadedRecipe(recipe, _stages(file, recipe), _root(file, recipe), file)
    check_names(loaded)
    if recipe.mixture is not None and recipe.tokenizer is not None:
        try:
            recipe.model.config(recipe.tokenizer.vocab_size)
        except UserError as error:
            raise loaded.placed(error) from None
    return loaded


def load_branch(path: str | os.PathLike[str]) -> Branch:
    """Read a branch from a file with ``phases``; its name is the file's. Raises: UserError for
    anything that is wrong with it.
    """
    file = YamlFile(Path(path))
    try:
        return Branch.model_validate({"name": Path(path).stem, **file.plain()})
    except ValidationError as error:
        raise _explained(file, Branch, error.errors()[0], ()) from None
    except UserError as error:
        raise _placed(
            file,
            error.changed(field=(error.field or "").removeprefix(f"branches.{Path(path).stem}.")),
        ) from None


def placed_in_branch(path: str | os.PathLike[str], error: UserError) -> UserError:
    """An error about a phase that a file with ``phases`` gave, with the file's line."""
    return _placed(
        YamlFile(Path(path)), error.changed(field=(error.field or "").removeprefix("mixture."))
    )


def recipe_schema() -> dict[str, Any]:
    """JSON Schema of a recipe, stages included."""
    schema = Recipe.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    options: list[dict[str, Any]] = [{"enum": sorted(STAGES)}]
    for kind, stage in sorted(STAGES.items()):
        definitions[f"stage_{kind}"] = stage.model_json_schema()
        options.append(
            {
                "type": "object",
                "properties": {kind: {"$ref": f"#/$defs/stage_{kind}"}},
                "required": [kind],
                "additionalProperties": False,
            }
        )
    definitions["Corpus"]["properties"]["stages"]["items"] = {"anyOf": options}
    return schema


def _root(file: YamlFile, recipe: Recipe) -> str:
    """The folder relative paths start from: absolute, or on a store."""
    root = recipe.corpus.root
    if split_protocol(root)[0]:
        return root
    if "\0" in root:
        raise file.error(
            ("corpus", "root"), "a path holds no NUL character", found=ascii(root), fix="remove it"
        )
    folder = (file.path.resolve().parent / root).resolve()
    if folder.is_file():
        raise file.error(
            ("corpus", "root"),
            "this is a file, not a folder",
            found=root,
            fix="name the folder that holds it",
        )
    return str(folder)


def _stages(file: YamlFile, recipe: Recipe) -> tuple[tuple[str, StageSettings], ...]:
    stages: list[tuple[str, StageSettings]] = []
    for index, entry in enumerate(recipe.corpus.stages):
        location: tuple[str | int, ...] = ("corpus", "stages", index)
        kind, settings = _stage_entry(file, location, entry)
        try:
            stage = STAGES[kind].model_validate(settings)
        except ValidationError as error:
            raise _explained(file, STAGES[kind], error.errors()[0], (*location, kind)) from None
        name = stage.name or _unused(kind, [other for other, _ in stages])
        if name in [other for other, _ in stages]:
            raise file.error(
                (*location, kind, "name"),
                "two stages have this name",
                found=name,
                fix="give one of them another name",
            )
        stages.append((name, stage))
    return tuple(stages)


def _stage_entry(
    file: YamlFile, location: tuple[str | int, ...], entry: Any
) -> tuple[str, dict[str, Any]]:
    kind: Any
    settings: Any
    if isinstance(entry, str):
        kind, settings = entry, {}
    elif isinstance(entry, dict) and len(entry) == 1:
        kind, settings = next(iter(entry.items()))
        settings = {} if settings is None else settings
    else:
        fix = "write - exact_dedup, or - language: {keep: [en]}"
        raise file.error(
            location, "a stage is a name, or a name with its settings", found=entry, fix=fix
        )
    if kind not in STAGES:
        raise file.error(
            location,
            "no such stage",
            found=kind,
            allowed=sorted(STAGES),
            fix="use one of the stages above",
        )
    if not isinstance(settings, dict):
        raise file.error(
            (*location, kind),
            "the settings of a stage are a mapping",
            found=settings,
            fix=f"write - {kind}: {{…}}",
        )
    return kind, settings


def _unused(kind: str, names: Sequence[str]) -> str:
    count = 1
    while (name := kind if count == 1 else f"{kind}-{count}") in names:
        count += 1
    return name
