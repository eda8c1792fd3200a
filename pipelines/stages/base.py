"""What a stage is: frozen settings that expand into steps of a few kinds.

- :class:`MeasureStep` adds signal columns and never touches text.
- :class:`RewriteStep` makes a new text version.
- :class:`ChooseStep` decides row by row who stays, from signals alone.
- :class:`CompareStep` decides across the whole corpus (deduplication).
- :class:`SpanStep` cuts what stood before, across the whole corpus, out of texts.
- :class:`PrepareStep` makes one table that a later measure needs (an index).

A step carries a *rule*: a small frozen object with a version, the settings and libraries that
decide its bytes, and a pure function of a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from artifacts.fingerprints import libraries
from artifacts.publish import FileRef

if TYPE_CHECKING:
    from dedup.spans.spans import Occurrences
    from pipelines.corpus.keep_policy import KeepPolicy
    from pipelines.corpus.view import CorpusView


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

    def measure(self, documents: pa.RecordBatch, resource: pa.Table | None) -> list[pa.Array]:
        """Columns in the order of :meth:`fields`, one value per row of ``documents``."""
        ...


class Rewrite(Rule, Protocol):
    """A new text for each document: a pure function of the old one."""

    def rewrite(self, texts: pa.LargeStringArray) -> pa.LargeStringArray: ...


@dataclass(frozen=True)
class RowVerdict:
    """Which rules would drop each row (bit i = rule i, all evaluated) and the first one's
    reason.
    """

    names: tuple[str, ...]  # reason of rule i
    rules: NDArray[np.uint64]
    reason: pa.StringArray  # null where the row stays


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
        ...

    @property
    def reason(self) -> str:
        """For the bytes that go."""
        ...

    @property
    def policy(self) -> KeepPolicy: ...

    @property
    def times(self) -> int:
        """How many occurrences of a stretch stay."""
        ...

    @property
    def min_words(self) -> int:
        """A document of which fewer are left is dropped."""
        ...

    @property
    def occurrences_per_hash(self) -> int:
        """At most so many stretches belong to one hash."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the measures whose signals it reads, besides size."""
        ...

    def hashes(self, texts: pa.LargeStringArray, wanted: NDArray[np.bool_]) -> NDArray[np.uint64]:
        """Hashes of the wanted texts in order, such that of every stretch that occurs twice in the
        corpus one occurs twice.
        """
        ...

    def occurrences(
        self, texts: pa.LargeStringArray, flags: NDArray[np.bool_], wanted: NDArray[np.bool_]
    ) -> Occurrences:
        """Stretches that may have stood before; ``flags`` says which of the texts' hashes occur
        twice in the corpus.
        """
        ...

    def reach(
        self, texts: pa.LargeStringArray, row: NDArray[np.int64], end: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Up to where a stretch that ends in byte ``end`` of text ``row`` takes with it what
        follows, (m,).
        """
        ...


# metadata of a prepared table's schema: something its user should know, in one sentence
NOTE = b"note"


class Prepare(Rule, Protocol):
    """Makes one table from outside files, for a measure that follows."""

    def prepare(self) -> pa.Table: ...


@dataclass(frozen=True)
class MeasureStep:
    name: str
    rule: Measure
    sources: tuple[str, ...] | None = None
    resource: str | None = None  # name of the PrepareStep whose table the measure reads


@dataclass(frozen=True)
class RewriteStep:
    name: str
    rule: Rewrite
    sources: tuple[str, ...] | None = None


@dataclass(frozen=True)
class ChooseStep:
    name: str
    rule: Choose
    sources: tuple[str, ...] | None = None


@dataclass(frozen=True)
class CompareStep:
    name: str
    rule: Compare
    sources: tuple[str, ...] | None = None


@dataclass(frozen=True)
class SpanStep:
    name: str
    rule: FindSpans
    sources: tuple[str, ...] | None = None


@dataclass(frozen=True)
class PrepareStep:
    name: str
    rule: Prepare


Step = MeasureStep | RewriteStep | ChooseStep | CompareStep | SpanStep | PrepareStep


def applies(
    step: MeasureStep | RewriteStep | ChooseStep | CompareStep | SpanStep, source: str
) -> bool:
    """Whether a step concerns the documents of this source."""
    return step.sources is None or source in step.sources


@dataclass(frozen=True)
class Surroundings:
    """What a stage may know of the recipe around it when it expands into steps."""

    folder: str  # absolute root against which relative paths are resolved
    sources: tuple[str, ...]  # names, in the order of the recipe: their ranks
    columns: dict[str, str]  # signal column -> measure that makes it, of the stages before


class StageSettings(BaseModel):
    """Settings every stage has. A stage's class docstring is its help text."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

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


@dataclass(frozen=True)
class Resources:
    """Tables made by PrepareSteps, by step name."""

    refs: dict[str, FileRef]


def signal_columns(steps: Iterable[Step]) -> dict[str, str]:
    """Signal columns that measures of these steps make: column -> measure, the first that makes
    it.
    """
    columns: dict[str, str] = {}
    for step in steps:
        for field in step.rule.fields() if isinstance(step, MeasureStep) else []:
            columns.setdefault(field.name, step.name)
    return columns


def first_reason(names: Sequence[str], rules: NDArray[np.uint64]) -> pa.StringArray:
    """The name of the lowest set bit of each row, null where none is set."""
    lowest = rules & (~rules + np.uint64(1))
    index = np.where(rules == 0, 0, np.log2(np.maximum(lowest, 1).astype(np.float64))).astype(
        np.int32
    )
    indices = pa.array(index, mask=rules == 0)
    return pa.DictionaryArray.from_arrays(
        indices, pa.array(list(names), pa.string())
    ).dictionary_decode()
