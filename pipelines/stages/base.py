"""What a stage is: frozen settings that expand into steps of a few kinds.

- ``MeasureStep`` adds signal columns and never touches text.
- ``RewriteStep`` makes a new text version.
- ``ChooseStep`` decides row by row who stays, from signals alone.
- :class:`CompareStep` decides across the whole corpus (deduplication).
- :class:`SpanStep` cuts what stood before, across the whole corpus, out of texts.
- :class:`PrepareStep` makes files that a later measure needs (an index, a model).

A step carries a *rule*: a small frozen object with a version, the settings and libraries that
decide its bytes, and a pure function of a batch. The first three kinds are about one chunk and
carry themselves out (:mod:`pipelines.stages.chunk_steps`); the others say what they are, and call
a :class:`Driver`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from artifacts.fingerprints import libraries
from artifacts.ledger import Entry
from artifacts.paths import Store
from artifacts.publish import Manifest, Publication
from artifacts.settings import Part
from pipelines.corpus.chunk import Chunk
from pipelines.stages.chunk_work import ChunkWork, DocumentsInMemory, PreparedFiles, Resources

if TYPE_CHECKING:
    from dedup.spans.spans import Occurrences
    from pipelines.corpus.keep_policy import KeepPolicy
    from pipelines.corpus.view import CorpusView
    from pipelines.stages.verdicts import Judged


class Rule(Protocol):
    """Anything whose output is cached: it says what decides the output's bytes.

    A class that moves to another module, or gets another name, writes the name it had as
    ``rule_name: ClassVar[str]``, and all that was made under it is found again.
    """

    version: ClassVar[int]

    @property
    def libraries(self) -> tuple[str, ...]:
        """Libraries whose version and content decide bytes, besides pyarrow."""
        ...

    def settings(self) -> dict[str, Any]:
        """Everything configurable that decides the output, as plain JSON values."""
        ...


def fingerprint(rule: Rule) -> dict[str, Any]:
    """What identifies a rule in content keys."""
    return {
        "rule": rule_name(type(rule)),
        "version": rule.version,
        "libraries": libraries("pyarrow", *rule.libraries),
        "settings": rule.settings(),
    }


def rule_name(rule: type) -> str:
    """A rule's name in content keys: the one its class has written, else where the class is.

    A subclass is another rule, so it does not inherit a written name.
    """
    written: str | None = vars(rule).get("rule_name")
    return written or f"{rule.__module__}.{rule.__qualname__}"


class Measure(Rule, Protocol):
    """Signal columns of documents: a pure function of each row."""

    def fields(self) -> list[pa.Field]: ...

    def measure(self, documents: pa.RecordBatch, resource: Any) -> list[pa.Array]:
        """Columns in the order of :meth:`fields`, one value per row of ``documents``. ``resource``:
        what the PrepareStep it names opened; None without one.
        """
        ...


class Rewrite(Rule, Protocol):
    """A new text for each document: a pure function of the old one."""

    def rewrite(self, texts: pa.LargeStringArray) -> pa.LargeStringArray: ...


@dataclass(frozen=True)
class RowVerdict:
    """Which rules would drop each row (bit i = rule i, all evaluated) and the first's reason."""

    names: tuple[str, ...]  # reason of rule i
    rules: NDArray[np.uint64]
    reason: pa.StringArray  # null where the row stays
    judged: Judged | None = None  # whom its rule sets are about, where not everybody


class Choose(Rule, Protocol):
    """Keeps or drops each row, from its signals."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the measures whose signals it reads."""
        ...

    def choose(self, signals: dict[str, pa.Table]) -> RowVerdict: ...


@dataclass(frozen=True)
class CorpusVerdict:
    """Outcome of a comparison over n rows: who stays, why the others go, and the evidence.

    Evidence columns have one value per removed row: ``document`` was removed in favour of
    ``kept_row``; ``cluster_row`` is the row whose id names their cluster, the least of its
    documents.
    """

    kept: NDArray[np.bool_]
    reason: str
    document: NDArray[np.int64]
    kept_row: NDArray[np.int64]
    similarity: NDArray[np.float32]
    bands_hit: NDArray[np.int32]
    cluster_row: NDArray[np.int64]
    cluster_size: NDArray[np.int64]
    facts: dict[str, Any]


class Compare(Rule, Protocol):
    """Keeps or drops rows by comparing all of them."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the measures whose signals it reads, besides size."""
        ...


class CompareWhole(Compare, Protocol):
    """A comparison of small columns, which one task holds whole; others are carried out in parts
    (:mod:`pipelines.comparisons.near`).
    """

    def compare(self, view: CorpusView) -> CorpusVerdict: ...


class FindSpans(Rule, Protocol):
    """Finds stretches of texts that stood before. The work is divided by chunk and by hash; bytes
    are compared before anything is cut.

    Texts (n,) are of one batch; stretches are bytes within a text.
    """

    @property
    def kind(self) -> str:
        """What a stretch is, for the evidence."""

    @property
    def reason(self) -> str:
        """For the bytes that go."""

    @property
    def policy(self) -> KeepPolicy: ...

    @property
    def times(self) -> int:
        """How many occurrences of a stretch stay."""

    @property
    def min_words(self) -> int:
        """A document of which fewer are left is dropped."""

    @property
    def occurrences_per_hash(self) -> int:
        """At most so many stretches belong to one hash."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the measures whose signals it reads, besides size."""

    def hashes(self, texts: pa.LargeStringArray, wanted: NDArray[np.bool_]) -> NDArray[np.uint64]:
        """Hashes of the wanted texts in order, such that of every stretch that occurs twice in the
        corpus one occurs twice.
        """

    def occurrences(
        self, texts: pa.LargeStringArray, flags: NDArray[np.bool_], wanted: NDArray[np.bool_]
    ) -> Occurrences:
        """Stretches that may have stood before; ``flags`` says which of the texts' hashes occur
        twice in the corpus.
        """

    def reach(
        self, texts: pa.LargeStringArray, row: NDArray[np.int64], end: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Up to where a stretch that ends in byte ``end`` of text ``row`` takes with it what
        follows, (m,).
        """


class Prepare(Rule, Protocol):
    """Makes files from outside ones, such as an index or a model, for a measure that follows."""

    def prepare(self, unit: Publication) -> None:
        """Write one or several files into the unit."""

    def open(self, files: PreparedFiles) -> Any:
        """What the measure gets of these files: once for each chunk."""

    def note(self, files: PreparedFiles) -> str | None:
        """Something its user should know, in one sentence."""


class ChunkStep(Protocol):
    """Something done to one chunk. A worker (:mod:`pipelines.chunks.work`) takes a chunk through
    steps, finds the unit of each under the key of its inputs, or has it made.
    """

    area: ClassVar[str]  # folder of its units
    chooses: ClassVar[bool]  # its ledger follows that of the choice before
    occasional: ClassVar[bool]  # it has a ledger only where it was about some chunk

    @property
    def name(self) -> str: ...

    def has_work(self, chunk: Chunk) -> bool:
        """Whether it is about the documents of this chunk."""

    def passed_over(self, store: Store, chunk: Chunk) -> Entry | None:
        """Its ledger entry for a chunk that it is not about; None where it has none."""

    def inputs(self, chunk: Chunk, resources: Resources) -> dict[str, Any]:
        """What decides the bytes of its unit."""

    def make(self, work: ChunkWork, unit: Publication) -> Entry:
        """Write its files; what happened to the documents that entered."""

    def moved(self, chunk: Chunk, manifest: Manifest) -> Chunk:
        """The chunk after the step."""


@dataclass(frozen=True)
class Step:
    """What a stage expands into: a rule, and on what it is carried out."""

    name: str
    rule: Any
    sources: tuple[str, ...] | None = None  # None: all
    rewrites: ClassVar[bool] = False  # a new text version begins after it
    finds_copies: ClassVar[bool] = False  # says in evidence which document stands for which
    occasional: ClassVar[bool] = False  # it has a ledger only where it was about some chunk
    tried_again: ClassVar[bool] = False  # it may leave documents undecided, for the next call

    def concerns(self, source: str) -> bool:
        """Whether it is about the documents of this source."""
        return self.sources is None or source in self.sources

    def has_work(self, chunk: Chunk) -> bool:
        return self.concerns(chunk.source)

    def signals(self) -> Sequence[pa.Field]:
        """Signal columns that it makes."""
        return ()

    def join(self, order: StepOrder) -> None:
        """Take its place among the steps of a run."""
        raise NotImplementedError(type(self).__name__)


@dataclass(frozen=True)
class PrepareStep(Step):
    """Makes files that a later measure needs, before anything is read for it."""

    rule: Prepare

    def join(self, order: StepOrder) -> None:
        order.before(self)

    def carry_out(self, driver: Driver) -> None:
        driver.prepare(self)


@dataclass(frozen=True)
class CompareStep(Step):
    """Decides across the whole corpus. ``in_parts``: as tasks over parts of it, with a rule for
    them (``MinHashCompare``); else the rule is a :class:`CompareWhole`.
    """

    rule: Compare
    in_parts: bool = False
    max_removed_share: float | None = None  # of a source; more stop the run
    strictness: str | None = None  # the setting that, raised, removes less
    quality_sample: int | None = None  # documents of each kind to measure quality on; None: not

    finds_copies: ClassVar[bool] = True

    def join(self, order: StepOrder) -> None:
        order.alone(self)

    def carry_out(self, driver: Driver) -> None:
        driver.compare(self)


@dataclass(frozen=True)
class SpanStep(Step):
    """Cuts what stood before, across the whole corpus, out of texts."""

    rule: FindSpans

    rewrites: ClassVar[bool] = True

    def join(self, order: StepOrder) -> None:
        order.alone(self)

    def carry_out(self, driver: Driver) -> None:
        driver.cut(self)


class RowStep(ChunkStep, Protocol):
    """A step of a stage over one chunk, where the outcome of a row follows from that row alone."""

    rewrites: ClassVar[bool]
    needs_text_alone: ClassVar[bool]  # so it may be carried out before steps that choose
    tried_again: ClassVar[bool]  # it may leave documents undecided, which the next call tries again

    @property
    def resource(self) -> PrepareStep | None:
        """What has to be prepared before."""

    def apply(self, documents: DocumentsInMemory) -> None:
        """Do to documents outside a run what is done to a chunk."""


class StepOrder(Protocol):
    """Is told of the steps of stages one by one, and puts each where it belongs: before all others,
    alone because it sees all chunks, or in a chain that is carried out chunk by chunk.
    """

    def before(self, step: PrepareStep) -> None: ...

    def alone(self, step: CompareStep | SpanStep) -> None: ...

    def chained(self, step: RowStep) -> None: ...


class Driver(Protocol):
    """Carries out what concerns all chunks of a run."""

    def prepare(self, step: PrepareStep) -> None: ...

    def compare(self, step: CompareStep) -> None: ...

    def cut(self, step: SpanStep) -> None: ...

    def chain(self, steps: Sequence[RowStep]) -> None: ...


@dataclass(frozen=True)
class Surroundings:
    """What a stage may know of the recipe around it when it expands into steps."""

    folder: str  # absolute root against which relative paths are resolved
    sources: tuple[str, ...]  # names, in the order of the recipe: their ranks
    columns: dict[str, str]  # signal column -> measure that makes it, of the stages before
    languages: tuple[str, ...] = ()  # measures of all stages that make the column language
    ahead: tuple[Step, ...] = ()  # those of them that stages after this one bring
    quarantine_bytes: int = 64 << 10  # kept of a document that goes to quarantine


class StageSettings(Part):
    """Settings every stage has. A stage's class docstring is its help text."""

    name: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9][a-z0-9_-]*$",
        max_length=100,
        description="name of this stage in tables and folders; default: its kind",
    )
    sources: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="only these sources; default: all"
    )

    kind: ClassVar[str]

    def steps(self, around: Surroundings, name: str) -> list[Step]:
        """The steps this stage consists of, in order."""
        raise NotImplementedError(type(self).__name__)

    def language_measure(self, name: str) -> Step | None:
        """The step among them that measures the column ``language``, None without one."""
        return None
