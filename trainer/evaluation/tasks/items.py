"""Items of a benchmark, whatever its publisher's files look like, and tasks made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Item:
    """One question.

    ``key``: of its record, the same for every model that is asked. ``context``: what a model reads
    first, without BOS. ``options``: what may follow, each with the white space that parts it from
    the context; none where an answer is written and not chosen. ``right``: which option is, None
    where there are none. ``answer``: the right text as it would follow the context. ``cluster``:
    the passage or document that several items share; its own key where it shares none. ``text``:
    the question as decontamination looks for it.
    """

    key: str
    context: str
    options: tuple[str, ...]
    right: int | None
    answer: str
    cluster: str
    text: str


@dataclass(frozen=True)
class Task:
    """A benchmark: ``layout``: how its files are laid out (a name of
    :data:`trainer.evaluation.tasks.layouts.LAYOUTS`); ``files``: where they lie; ``norm``: by what
    options are told apart (a name of :data:`trainer.evaluation.tasks.norms.NORMS`); ``records``: of
    each item, with the fields of the Hugging Face data set; ``note``: what a reader must know.
    """

    name: str
    layout: str
    files: tuple[str, ...]
    items: tuple[Item, ...]
    norm: str = "per_character"
    records: tuple[Mapping[str, Any], ...] = ()
    note: str | None = None

    @property
    def chance(self) -> float | None:
        """The share of right choices of one who guesses, None where nothing is chosen."""
        shares = [1 / len(item.options) for item in self.items if item.options]
        return sum(shares) / len(shares) if shares else None
