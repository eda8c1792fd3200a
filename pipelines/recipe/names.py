"""Names in a recipe: those of sources, phases and branches that one part gives and others speak
of.

What is wrong is said of an address in the recipe; the loader knows the file and its lines.
"""

from __future__ import annotations

from collections.abc import Sequence

from artifacts.errors import Address, UserError
from mixtures.spec.bands import source_of
from mixtures.spec.rules import DECAY, check_hold_out, check_reserve
from mixtures.spec.spec import MixtureSpec, PhaseSpec
from pipelines.recipe.fields import Recipe
from pipelines.recipe.mistakes import in_branch
from pipelines.stages.base import StageSettings


def check_names(recipe: Recipe, stages: Sequence[tuple[str, StageSettings]]) -> None:
    """Sources that stages, the tokenizer's sample, the mixture and the branches speak of must
    exist. Raises: UserError with the address of the one that does not.
    """
    for location, name in _spoken(recipe, stages):
        _check_source(recipe, location, name)
    if recipe.mixture is not None:
        _check_places(recipe, recipe.mixture)
        _check_rules(recipe, recipe.mixture)


def _spoken(
    recipe: Recipe, stages: Sequence[tuple[str, StageSettings]]
) -> list[tuple[Address, str]]:
    """Where a recipe speaks of which source."""
    spoken: list[tuple[Address, str]] = [
        (("shards", "split", name), name) for name in recipe.shards.split
    ]
    for index, (_, stage) in enumerate(stages):
        spoken += [
            (("corpus", "stages", index, stage.kind, "sources"), name)
            for name in stage.sources or ()
        ]
    tokenizer, mixture = recipe.tokenizer, recipe.mixture
    if mixture is not None:
        spoken += _spoken_in_phases(("mixture", "phases"), mixture.phases)
        spoken += [
            (("mixture", "hold_out", index), name) for index, name in enumerate(mixture.hold_out)
        ]
        spoken += [
            (("mixture", rule, name), name)
            for rule in ("reserve", "max_epochs", "min_tokens")
            for name in getattr(mixture, rule)
        ]
    for number, branch in enumerate(recipe.branches):
        spoken += _spoken_in_phases(("branches", number, "phases"), branch.phases)
    if tokenizer is not None and tokenizer.sample:
        spoken += [(("tokenizer", "sample", name), name) for name in tokenizer.sample]
    return spoken


def _check_source(recipe: Recipe, location: Address, name: str) -> None:
    """The source or band that a location speaks of is there; bands only where shards are spoken
    of.
    """
    names = [source.name for source in recipe.corpus.sources]
    if name not in names and (
        location[0] not in ("mixture", "branches") or source_of(name) not in names
    ):
        raise UserError(
            "no such source",
            field=location,
            found=name,
            allowed=names,
            fix="name one of the corpus's sources",
        )
    bands = recipe.shards.sources_of(source_of(name))
    if source_of(name) != name and name not in bands:
        message, fix = "the source is not cut into bands", "add it to shards.split"
        if source_of(name) in recipe.shards.split:
            message, fix = "no such band", "name one of the bands above"
        raise UserError(message, field=location, found=name, allowed=list(bands), fix=fix)


def _spoken_in_phases(place: Address, phases: Sequence[PhaseSpec]) -> list[tuple[Address, str]]:
    """Where phases speak of which source."""
    spoken: list[tuple[Address, str]] = []
    for index, phase in enumerate(phases):
        here = (*place, index)
        spoken += [((*here, "weights", name), name) for name in phase.weights]
        spoken += [
            ((*here, "weights_from", number), name)
            for number, name in enumerate(phase.weights_from or ())
        ]
        spoken += [
            ((*here, "preset", "sources", entry), name)
            for entry, name in (phase.preset.sources if phase.preset else {}).items()
        ]
    return spoken


def _check_places(recipe: Recipe, mixture: MixtureSpec) -> None:
    """Sources are reserved for the decay, or for a phase or branch that exists."""
    branches = recipe.branches
    phases = [*mixture.phases, *(phase for branch in branches for phase in branch.phases)]
    places = dict.fromkeys(
        [DECAY, *(phase.name for phase in phases), *(branch.name for branch in branches)]
    )
    for source, place in mixture.reserve.items():
        if place not in places:
            raise UserError(
                "no such phase or branch to reserve a source for",
                field=("mixture", "reserve", source),
                found=place,
                allowed=list(places),
                fix="name one of the above",
            )


def _check_rules(recipe: Recipe, mixture: MixtureSpec) -> None:
    """Reserved sources are shown where they may be, and held-out ones nowhere."""
    check_reserve(mixture.phases, mixture.rules, decayed=False, branch=None)
    for branch in recipe.branches:
        try:
            check_hold_out(branch.phases, mixture.rules)
            check_reserve(branch.phases, mixture.rules, decayed=False, branch=branch.name)
        except UserError as error:
            raise error.relocated(in_branch(branch.name)) from None
