"""What a finished training came to, kept beside it: ``training/KEY/outcome-….json``.

The name is a key of all that was asked: branches, prompts, and the held-out shards it is measured
on. So nothing is measured again that was, and nothing is shown for what it is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from artifacts.books import read_book, sealed
from artifacts.fingerprints import canonical_json, content_key
from artifacts.paths import Store
from artifacts.settings import key_settings
from pipelines.recipe.fields import Recipe
from pipelines.training.keys import Places

FACTS = ("plan", "training", "branches", "samples")
"""Parts of a run's record that are an outcome."""


class Outcome:
    """The outcome of a recipe's training. ``measured``: folders of the held-out shards by name."""

    def __init__(
        self, store: Store, recipe: Recipe, places: Places, measured: Mapping[str, str]
    ) -> None:
        self.store = store
        self._branches = tuple(branch.name for branch in recipe.branches)
        facts = {"prompts": list(recipe.prompts), "seed": recipe.seed}
        asked = [{**facts, "branches": dict(places.branches), "measured": dict(measured)}]
        if places.former:
            asked.append({**facts, "branches": [key_settings(one) for one in recipe.branches]})
        self.names = [f"{places.folder}/outcome-{content_key(one)}.json" for one in asked]

    def known(self) -> dict[str, Any]:
        """The parts of the record, branches in the recipe's order; nothing where the training has
        not come to its end.
        """
        found = next(filter(None, (read_book(self.store, name) for name in self.names)), {})
        if isinstance(made := found.get("branches"), dict):  # a book has them by name
            found["branches"] = {name: made[name] for name in self._branches if name in made}
        return found

    def keep(self, record: Mapping[str, Any]) -> None:
        """Write the parts down."""
        facts = {name: record[name] for name in FACTS}
        self.store.write(self.names[0], canonical_json(sealed(facts)) + b"\n")
