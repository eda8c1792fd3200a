"""What training needs of a finished corpus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from artifacts.commands import Command
from artifacts.errors import UserError
from artifacts.paths import Store
from mixtures.parts.open_parts import open_shards
from mixtures.parts.part_files import PartFiles
from mixtures.spec.bands import held_out_of, is_held_out, shown_beside, source_of
from pipelines.shards.tokenizer import recorded_model
from tokenizer.encode import Tokenizer
from tokenizer.shards.reader import ShardSource


@dataclass(frozen=True)
class Materials:
    """What training needs of a finished corpus: shards by source, held-out shards, tokenizer."""

    folders: dict[str, Path | str]
    validation: dict[str, Path | str]
    tokenizer: Tokenizer
    # of the run, for what became of a source without shards
    record: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, store: Store, record: dict[str, Any]) -> Materials:
        """Raises: UserError when the run has no shards. Those on a store are read in ranges."""
        if not record["shards"]:
            raise UserError(
                "this run has no shards yet", file=store.root, fix=Command("run RECIPE")
            )
        place = Path if store.local else str
        folders: dict[str, Path | str] = {
            name: place(store.full(entry["folder"]))
            for name, entry in record["shards"].items()
            if entry["documents"]
        }
        model = recorded_model(store, record)
        train = {name: folder for name, folder in folders.items() if not is_held_out(name)}
        held = {name: folder for name, folder in folders.items() if is_held_out(name)}
        return cls(train, held, Tokenizer.load(model), record)

    def sources(self) -> dict[str, ShardSource | PartFiles]:
        return {
            name: open_shards(folder, self.tokenizer.hash) for name, folder in self.folders.items()
        }

    def held_out(
        self, sources: Iterable[str], length: int, whole: Iterable[str] = ()
    ) -> dict[str, Path | str]:
        """Held-out shards of these sources, those that fill at least one window of ``length``
        tokens.

        ``whole``: sources that are never shown, of which all documents are measured (a band, or all
        bands of a source).
        """
        found = self._measurable(sources, whole)
        return {name: found[name] for name, tokens in _tokens(found) if tokens > length}

    def too_short(
        self, sources: Iterable[str], length: int, whole: Iterable[str] = ()
    ) -> list[str]:
        """What :meth:`held_out` leaves out, a sentence for each."""
        return [
            f"{shown_beside(name)} is not measured: its held-out documents have {tokens:,} tokens, "
            f"which fill no more than one window of {length:,}; hold out more of it "
            "(shards.hold_out), or train with shorter windows"
            for name, tokens in _tokens(self._measurable(sources, whole))
            if tokens <= length
        ]

    def _measurable(self, sources: Iterable[str], whole: Iterable[str]) -> dict[str, Path | str]:
        names = [held_out_of(name) for name in sorted(set(sources))]
        found = {name: self.validation[name] for name in names if name in self.validation}
        return found | {
            name: folder
            for name, folder in self.folders.items()
            if {name, source_of(name)} & set(whole)
        }


def _tokens(folders: Mapping[str, Path | str]) -> list[tuple[str, int]]:
    return [(name, open_shards(folder).manifest.tokens) for name, folder in folders.items()]
