"""The fields of a recipe."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    model_validator,
)

from artifacts.errors import UserError
from artifacts.settings import LATER, Part
from mixtures.spec.rules import check_one_decay
from mixtures.spec.spec import MixtureSpec, PhaseSpec
from pipelines.corpus.document_files import Compression
from pipelines.readers import AUTO, Fields, Limits
from pipelines.recipe.after import EvaluateSettings, ExportAfter
from pipelines.recipe.format_names import FormatName
from pipelines.recipe.mistakes import in_branch
from pipelines.recipe.name import Name
from pipelines.shards.settings import ShardSettings, TokenizerSettings
from trainer.loop.settings import ModelSettings, TrainSettings

MIB = 1 << 20


MAX_QUARANTINED_SHARE = 0.5


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
    format: FormatName = AUTO
    id_field: str | None = Field(
        default=None, description="field that identifies a record; default: its path and offset"
    )
    text_field: str = "text"
    messages_field: str | None = Field(
        default=None,
        description="field that holds a conversation: instruction data; auto: told by its fields",
    )
    url_field: str = "url"
    date_field: str = "date"
    lang: str | None = Field(default=None, description="language of records that do not say theirs")
    license: str | None = Field(
        default=None, description="licence of records that do not say theirs"
    )
    max_quarantined_share: Annotated[
        float,
        Field(ge=0, le=1, description="of the records that may be quarantined; more stop the run"),
        LATER,
    ] = MAX_QUARANTINED_SHARE

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
    """Bounds on what is read; what is beyond them goes to quarantine."""

    record_mib: Annotated[float, Field(gt=0, le=1024)] = 32.0
    quarantine_kib: Annotated[float, Field(gt=0, le=65536)] = 64.0
    search_mib: Annotated[float, Field(gt=0, le=65536)] = Field(
        default=64.0,
        description="decoded in vain in search of where a damaged compressed file goes on",
    )
    page_depth: Annotated[int, Field(ge=8, le=1 << 16)] = Field(
        default=2048, description="levels of elements of a web page"
    )
    page_nodes: Annotated[int, Field(ge=1, le=1 << 30)] = Field(
        default=1 << 20, description="elements, texts and attributes of a web page"
    )
    page_attributes: Annotated[int, Field(ge=1, le=1 << 20)] = Field(
        default=4096, description="attributes of one element of a web page"
    )
    page_work: Annotated[int, Field(ge=1, le=1 << 50)] = Field(
        default=1 << 29, description="bytes of a web page, each times the levels it lies under"
    )

    def limits(self) -> Limits:
        return Limits(
            record_bytes=int(self.record_mib * MIB),
            quarantine_bytes=int(self.quarantine_kib * 1024),
            search_bytes=int(self.search_mib * MIB),
            page_depth=self.page_depth,
            page_nodes=self.page_nodes,
            page_attributes=self.page_attributes,
            page_work=self.page_work,
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

    def conversations(self) -> tuple[str, ...]:
        """Names of the sources of instruction data."""
        return tuple(source.name for source in self.sources if source.messages_field is not None)

    @model_validator(mode="after")
    def _names_differ(self) -> Corpus:
        names = [source.name for source in self.sources]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two sources are named {name!r}")
        return self


class Branch(Part):
    """Another ending of the run: these phases in place of the mixture's, from the step where its
    decay starts.

    Percents are of the tokens of the run, as in the mixture; they need not sum to 100.
    """

    name: Name
    phases: Annotated[tuple[PhaseSpec, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _one_decay(self) -> Branch:
        check_one_decay(self.phases, branch=self.name)
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _errors_name_the_branch(
        cls, value: Any, handler: ModelWrapValidatorHandler[Branch]
    ) -> Branch:
        try:
            return handler(value)
        except UserError as error:
            name = str(value.get("name")) if isinstance(value, dict) else ""
            raise error.relocated(in_branch(name)) from None


class Recipe(Part):
    """A run: name, seed, corpus, tokenizer, shards; mixture, model, train and branches for training
    on them.
    """

    name: Name
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 1
    start: Annotated[str | None, LATER] = Field(
        default=None,
        description="folder of a checkpoint, trained here or imported, whose weights, shape and "
        "tokenizer the training starts at; default: weights are drawn",
    )
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
    evaluate: EvaluateSettings | None = Field(
        default=None, description="benchmark tasks that every ending of the training is scored on"
    )
    export: ExportAfter | None = Field(
        default=None,
        description="write the trained model for other programs into export/ of the run",
    )

    @model_validator(mode="before")
    @classmethod
    def _a_start_brings_its_tokenizer(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("start") is None:
            return values
        return {**values, "tokenizer": values.get("tokenizer") or {"model": values["start"]}}

    @model_validator(mode="after")
    def _start_and_tokenizer_agree(self) -> Recipe:
        if self.start is None or self.tokenizer is None or self.tokenizer.model is not None:
            return self
        raise UserError(
            "a training that starts at a model has its tokenizer; none is trained",
            field="tokenizer",
            found=", ".join(sorted(self.tokenizer.model_fields_set)) or "a tokenizer to train",
            fix="leave tokenizer out, or give tokenizer.model",
        )

    @model_validator(mode="after")
    def _scores_and_exports_are_of_a_training(self) -> Recipe:
        for name in ("evaluate", "export"):
            if getattr(self, name) is not None and self.mixture is None:
                raise UserError(
                    "this recipe trains no model, so there is nothing to do it with",
                    field=name,
                    fix=f"give the recipe a mixture, or leave {name} out",
                )
        return self

    @model_validator(mode="after")
    def _training_begins_with_the_windows_of_train(self) -> Recipe:
        """What the first phase shows is said in ``train``; it may repeat it, not differ from it."""
        if self.mixture is None:
            return self
        first = self.mixture.phases[0]
        for name in ("sequence_length", "batch_tokens"):
            said, wanted = getattr(first, name), getattr(self.train, name)
            if said not in (None, wanted):
                raise UserError(
                    "the first phase begins with the windows and batches that train says",
                    field=(*first.address, name),
                    found=said,
                    allowed=[wanted],
                    fix=f"leave it out, or set train.{name} to {said}",
                )
        return self
