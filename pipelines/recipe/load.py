"""The recipe: one YAML file that says what a run does.

``load_recipe`` returns a validated :class:`Recipe`; anything wrong in the file is a
:class:`~artifacts.errors.UserError` with file, line, field, what was found and what is allowed.
``recipe_schema`` is the JSON Schema for editors.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from fsspec.core import split_protocol
from pydantic import BaseModel, ValidationError

from artifacts.errors import Address, Move, Place, UserError, is_parameter
from pipelines.recipe.fields import Branch, Recipe
from pipelines.recipe.mistakes import PHASES, explained
from pipelines.recipe.names import check_names
from pipelines.recipe.yaml_lines import GivenValues, YamlFile
from pipelines.stages import STAGES
from pipelines.stages.base import StageSettings

ROOT: Address = ("corpus", "root")
M = TypeVar("M", bound=BaseModel)


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

    def place(self, address: Address) -> Place:
        """Where the recipe says what an address speaks of; a stage's fields go by NAME.FIELD."""
        numbers = {name: number for number, (name, _) in enumerate(self.stages)}
        if not address or address[0] in Recipe.model_fields or address[0] not in numbers:
            return self.file.place(address)
        location = self.stage_address(numbers[str(address[0])])
        return self.file.place((*location, *address[1:]))._replace(address=address)

    def full(self, path: str) -> str:
        """A path of the recipe: relative ones start in its root."""
        if split_protocol(path)[0] or os.path.isabs(path):
            return path
        return f"{self.folder}/{path}"

    def stage_address(self, index: int) -> Address:
        """Where the settings of a stage stand."""
        return ("corpus", "stages", index, self.stages[index][1].kind)

    def place_in(self, part: Address) -> Move:
        """Places of what is said while a part of the recipe is carried out.

        It may speak of any part of the recipe by its address, and of fields of this one by theirs
        in it, which keep their short names.
        """
        known = {*Recipe.model_fields, *(name for name, _ in self.stages)}

        def move(address: Address) -> Place:
            if address and address[0] in known and not is_parameter(address):
                return self.place(address)
            return self.file.place((*part, *address))._replace(address=address or part)

        return move


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
        recipe = validated(file, Recipe, file.plain(), ())
        stages = _stages(file, recipe)
        folder = _root(file, recipe)
        check_names(recipe, stages)
        tokenizer = recipe.tokenizer
        if recipe.mixture is not None and tokenizer is not None and tokenizer.model is None:
            recipe.model.config(tokenizer.vocab_size)
    except UserError as error:
        raise error.relocated(file.place) from None
    return LoadedRecipe(recipe, stages, folder, file)


def validated(file: YamlFile, model: type[M], values: Any, above: Address) -> M:
    """A part of a recipe from plain values. Raises: UserError with an address in the recipe."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise explained(file, model, error.errors()[0], above) from None


def given_part(model: type[M], values: dict[str, Any], fix: str) -> M:
    """A part of a recipe that stands alone. Raises: UserError naming its first field that is wrong;
    ``fix``: of one that says nothing of its own.
    """
    file = GivenValues(values, Path())
    try:
        return validated(file, model, file.plain(), ())
    except UserError as error:
        raise (error if error.fix else error.changed(fix=fix)) from None


def load_branch(path: str | os.PathLike[str]) -> Branch:
    """Read a branch from a file with ``phases``; its name is the file's. Raises: UserError for
    anything that is wrong with it.
    """
    file = YamlFile(Path(path))
    try:
        return validated(file, Branch, {"name": Path(path).stem, **file.plain()}, ())
    except UserError as error:
        raise error.relocated(
            lambda address: file.place(address[2:] if address[:1] == ("branches",) else address)
        ) from None


def place_in_branch(path: str | os.PathLike[str]) -> Move:
    """Places of phases that a file with ``phases`` gave; other addresses stay."""
    file = YamlFile(Path(path))

    def move(address: Address) -> Place:
        return file.place(address[1:]) if address[:2] == PHASES else Place(address)

    return move


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
        raise UserError(
            "a path holds no NUL character", field=ROOT, found=ascii(root), fix="remove it"
        )
    folder = (file.path.resolve().parent / root).resolve()
    if folder.is_file():
        raise UserError(
            "this is a file, not a folder",
            field=ROOT,
            found=root,
            fix="name the folder that holds it",
        )
    return str(folder)


def _stages(file: YamlFile, recipe: Recipe) -> tuple[tuple[str, StageSettings], ...]:
    stages: list[tuple[str, StageSettings]] = []
    for index, entry in enumerate(recipe.corpus.stages):
        location: Address = ("corpus", "stages", index)
        kind, settings = _stage_entry(location, entry)
        stage = validated(file, STAGES[kind], settings, (*location, kind))
        name = stage.name or _unused(kind, [other for other, _ in stages])
        if name in [other for other, _ in stages]:
            raise UserError(
                "two stages have this name",
                field=(*location, kind, "name"),
                found=name,
                fix="give one of them another name",
            )
        stages.append((name, stage))
    return tuple(stages)


def _stage_entry(location: Address, entry: Any) -> tuple[str, dict[str, Any]]:
    kind: Any
    settings: Any
    if isinstance(entry, str):
        kind, settings = entry, {}
    elif isinstance(entry, dict) and len(entry) == 1:
        kind, settings = next(iter(entry.items()))
        settings = {} if settings is None else settings
    else:
        fix = "write - exact_dedup, or - language: {keep: [en]}"
        raise UserError(
            "a stage is a name, or a name with its settings", field=location, found=entry, fix=fix
        )
    if kind not in STAGES:
        raise UserError(
            "no such stage",
            field=location,
            found=kind,
            allowed=sorted(STAGES),
            fix="use one of the stages above",
        )
    if not isinstance(settings, dict):
        raise UserError(
            "the settings of a stage are a mapping",
            field=(*location, kind),
            found=settings,
            fix=f"write - {kind}: {{…}}",
        )
    return kind, settings


def _unused(kind: str, names: Sequence[str]) -> str:
    count = 1
    while (name := kind if count == 1 else f"{kind}-{count}") in names:
        count += 1
    return name
