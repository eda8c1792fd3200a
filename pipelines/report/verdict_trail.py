"""The verdict tables behind a chunk's selection: which rules each choosing step found broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from artifacts.paths import Store
from artifacts.publish import FileRef, published
from pipelines.corpus.chunk import Chunk
from pipelines.signals.rules import Rule


@dataclass(frozen=True)
class Choosing:
    """One choosing step over one chunk. ``rules`` are in the order of the bits; empty where the
    step names none. ``languages``: of each rule those that it is for, None for all.
    """

    step: str
    verdicts: FileRef
    rules: tuple[Rule, ...]
    languages: tuple[tuple[str, ...] | None, ...] = ()


def choosing_steps(store: Store, chunk: Chunk) -> list[Choosing]:
    """Choosing steps that made the chunk's selection, first to last; [] for a chunk nobody chose
    from.
    """
    found = []
    for step, verdicts in chunk.verdicts.items():
        manifest = published(store, verdicts.name.rpartition("/")[0])
        settings = {} if manifest is None else manifest.inputs["settings"]
        rules = tuple(Rule(**rule) for rule in settings.get("rules", ()))
        found.append(Choosing(step, verdicts, rules, _languages(settings, len(rules))))
    return found


def _languages(settings: dict[str, Any], rules: int) -> tuple[tuple[str, ...] | None, ...]:
    """The languages of each rule, from the sets that the rules came from."""
    found: list[tuple[str, ...] | None] = []
    for entry in settings.get("sets", ()):
        languages = entry["languages"]
        found += [None if languages is None else tuple(languages)] * entry["rules"]
    return tuple(found) or (None,) * rules
