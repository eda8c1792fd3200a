"""Windtunnel by one name: what a program needs of all floors.

    import windtunnel as wt

    outcome = wt.run(wt.load_recipe("recipe.yaml"), workers=2)
    wt.export("runs", outcome.record["name"], "dataset")

A name is imported when it is first used, so importing this package loads nothing else; one that
needs a library of an extra that is not installed names the extra. It has no code of its own: every
name stands where ``HOMES`` says, with its documentation.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from artifacts.errors import UserError
    from mixtures.loader.loader import Loader
    from mixtures.plan.format import Plan
    from pipelines.deduplicate.files import dedup_files as dedup
    from pipelines.recipe.load import given_recipe, load_recipe
    from pipelines.run.driver import run_recipe as run
    from pipelines.run.export import export
    from tokenizer.encode import Tokenizer
    from trainer.evaluation.generate import generate
    from trainer.loop.branch import branch
    from trainer.loop.training import train

HOMES = {
    "Loader": "mixtures.loader.loader.Loader",
    "Plan": "mixtures.plan.format.Plan",
    "Tokenizer": "tokenizer.encode.Tokenizer",
    "UserError": "artifacts.errors.UserError",
    "branch": "trainer.loop.branch.branch",
    "dedup": "pipelines.deduplicate.files.dedup_files",
    "export": "pipelines.run.export.export",
    "generate": "trainer.evaluation.generate.generate",
    "given_recipe": "pipelines.recipe.load.given_recipe",
    "load_recipe": "pipelines.recipe.load.load_recipe",
    "run": "pipelines.run.driver.run_recipe",
    "train": "trainer.loop.training.train",
}
"""Where each public name stands."""

__all__ = [
    "Loader",
    "Plan",
    "Tokenizer",
    "UserError",
    "branch",
    "dedup",
    "export",
    "generate",
    "given_recipe",
    "load_recipe",
    "run",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message, name=name, obj=sys.modules[__name__])
    module, symbol = HOMES[name].rsplit(".", 1)
    try:
        return getattr(import_module(module), symbol)
    except ModuleNotFoundError as error:
        from artifacts.extras import extra_of, missing_extra

        extra = extra_of(error.name)
        if extra is None:
            raise
        raise missing_extra(extra, [str(error.name)]) from None


def __dir__() -> list[str]:
    return sorted([*__all__, "HOMES", *(name for name in globals() if name.startswith("__"))])
