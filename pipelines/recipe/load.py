"""The recipe: one YAML file that says what a run does.

``load_recipe`` returns a validated :class:`Recipe`; anything wrong in the file is a
:class:`~artifacts.errors.UserError` with file, line, field, what was found and what is allowed.
``recipe_schema`` is the JSON Schema for editors.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from fsspec.core import split_protocol
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from artifacts.errors import UserError
from mixtures.spec.spec import MixtureSpec, PhaseSpec
from pipelines.corpus.document_files import Compression
from pipelines.readers import FORMATS, Fields, Limits
from pipelines.recipe.names import check_names, of_branch
from pipelines.recipe.yaml_lines import GivenValues, YamlFile, dotted
from pipelines.shards.split import Split, check_bands
from pipelines.stages import STAGES
from pipelines.stages.base import StageSettings
from trainer.loop.settings import ModelSettings, TrainSettings

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
LONGEST_NAME = 100
MIB = 1 << 20
Name = Annotated[str, Field(pattern=NAME, max_length=LONGEST_NAME)]


class Part(BaseModel):
    """A part of a recipe: frozen, no unknown keys, finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Source(Part):
    """Where documents come from and how their records are laid out."""

    name: Name
    paths: Annotated[
        tuple[str, ...],
        Field(
            min_length=1,
            description="files or globs: relative to corpus.root, absolute, or s3://, gs://, hf://",
        ),
    ]
    format: Literal["auto", "jsonl", "parquet", "warc", "html"] = "auto"
    id_field: str | None = Field(
        default=None, description="field that identifies a record; default: its path and offset"
    )
    text_field: str = "text"
    messages_field: str | None = Field(
        default=None, description="field that holds a conversation: instruction data"
    )
    url_field: str = "url"
    date_field: str = "date"
    lang: str | None = Field(default=None, description="language of records that do not say theirs")
    license: str | None = Field(
        default=None, description="licence of records that do not say theirs"
    )

    def fields(self) -> Fields:
        return Fields(
            id_field=self.id_field,
            text_field=self.text_field,
            messages_field=self.messages_field,
            url_field=self.url_field,
            date_field=self.date_field,
            lang=self.lang,
            license=self.license,
        )


class ReadLimits(Part):
    """Bounds on what is read; larger records go to quarantine."""

    record_mib: Annotated[float, Field(gt=0, le=1024)] = 32.0
    quarantine_kib: Annotated[float, Field(gt=0, le=65536)] = 64.0

    def limits(self) -> Limits:
        return Limits(
            record_bytes=int(self.record_mib * MIB),
            quarantine_bytes=int(self.quarantine_kib * 1024),
        )


class Corpus(Part):
    """Sources and the stages their documents go through, in order."""

    root: str = Field(
        default=".", description="folder relative paths start from; itself relative to the recipe"
    )
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    stages: tuple[Any, ...] = ()
    chunk_mib: Annotated[float, Field(ge=1 / 1024, le=4096)] = Field(
        default=64.0, description="uncompressed input per chunk, the unit of work and of caching"
    )
    compression: Compression = Field(
        default="zstd",
        description="of the texts in the run folder; lz4 and none are faster and take more room",
    )
    limits: ReadLimits = ReadLimits()

    @model_validator(mode="after")
    def _names_differ(self) -> Corpus:
        names = [source.name for source in self.sources]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two sources are named {name!r}")
        return self


class TokenizerSettings(Part):
    """Training of the tokenizer on a weighted sample of the selected documents."""

    vocab_size: Annotated[int, Field(ge=512, le=1 << 20)] = 32_768
    sample: dict[str, Annotated[float, Field(gt=0)]] | None = Field(
        default=None, description="share of the sample's bytes per source; default: by size"
    )
    sample_mib: Annotated[float, Field(gt=0)] = 64.0


class ShardSettings(Part):
    """Token shards."""

    part_mtokens: Annotated[float, Field(ge=1e-6)] = Field(
        default=256.0, description="millions of tokens per part"
    )
    hold_out: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of each source's documents set aside as SOURCE-validation",
    )
    split: dict[str, Split] = Field(
        default={},
        description="sources cut by a number into bands, each a source SOURCE/BAND of shards",
    )

    @model_validator(mode="after")
    def _bands_fit_together(self) -> ShardSettings:
        for source, split in self.split.items():
            check_bands(split.bands, f"shards.split.{source}.bands")
        return self

    def sources_of(self, source: str) -> tuple[str, ...]:
        """Names of the shard sources that a source's documents go to, held-out ones left out:
        itself, or its bands.
        """
        return (
            tuple(f"{source}/{band}" for band in self.split[source].bands)
            if source in self.split
            else (source,)
        )


class Branch(Part):
    """Another ending of the run: these phases in place of the mixture's, from the step where its
    decay starts.

    Percents are of the tokens of the run, as in the mixture; they need not sum to 100.
    """

    name: Name
    phases: Annotated[tuple[PhaseSpec, ...], Field(min_length=1)]

    @model_validator(mode="wrap")
    @classmethod
    def _errors_name_the_branch(
        cls, value: Any, handler: ModelWrapValidatorHandler[Branch]
    ) -> Branch:
        try:
            return handler(value)
        except UserError as error:
            raise of_branch(
                error, str(value.get("name")) if isinstance(value, dict) else ""
            ) from None


class Recipe(Part):
    """A run: name, seed, corpus, tokenizer, shards; mixture, model, train and branches for training
    on them.
    """

    name: Name
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 1
    corpus: Corpus
    tokenizer: TokenizerSettings | None = None
    shards: ShardSettings = ShardSettings()
    mixture: MixtureSpec | None = None
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()
    branches: tuple[Branch, ...] = ()
    prompts: tuple[str, ...] = Field(
        default=(),
        description="texts the model goes on from, before and after the decay, in the report",
    )


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


def _unused(kind: str, names: Sequence[str]) -> str:
    count = 1
    while (name := kind if count == 1 else f"{kind}-{count}") in names:
        count += 1
    return name


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


assert {"auto", *FORMATS} == {"auto", "jsonl", "parquet", "warc", "html"}
