"""Names in a recipe: those of sources, phases and branches that one part gives and others speak
of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from artifacts.errors import UserError
from mixtures.spec.bands import source_of
from mixtures.spec.rules import DECAY, check_hold_out, check_reserve
from mixtures.spec.spec import MixtureSpec, PhaseSpec
from pipelines.recipe.mistakes import of_branch
from pipelines.recipe.overrides import Location

if TYPE_CHECKING:
    from pipelines.recipe.load import LoadedRecipe


def check_names(loaded: LoadedRecipe) -> None:
    """Sources that stages, the tokenizer's sample, the mixture and the branches speak of must
    exist. Raises: UserError.
    """
    names = [source.name for source in loaded.recipe.corpus.sources]
    spoken: list[tuple[Location, str]] = [
        (("shards", "split", name), name) for name in loaded.recipe.shards.split
    ]
    for index, (_, stage) in enumerate(loaded.stages):
        spoken += [
            (("corpus", "stages", index, stage.kind, "sources"), name)
            for name in stage.sources or ()
        ]
    tokenizer, mixture = loaded.recipe.tokenizer, loaded.recipe.mixture
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
    for number, branch in enumerate(loaded.recipe.branches):
        spoken += _spoken_in_phases(("branches", number, "phases"), branch.phases)
    if tokenizer is not None and tokenizer.sample:
        spoken += [(("tokenizer", "sample", name), name) for name in tokenizer.sample]
    for location, name in spoken:
        if name not in names and (
            location[0] not in ("mixture", "branches") or source_of(name) not in names
        ):
            raise loaded.file.error(
                location,
                "no such source",
                found=name,
                allowed=names,
                fix="name one of the corpus's sources",
            )
        bands = loaded.recipe.shards.sources_of(source_of(name))
        if source_of(name) != name and name not in bands:
            message, fix = "the source is not cut into bands", "add it to shards.split"
            if source_of(name) in loaded.recipe.shards.split:
                message, fix = "no such band", "name one of the bands above"
            raise loaded.file.error(location, message, found=name, allowed=list(bands), fix=fix)
    if mixture is not None:
        _check_places(loaded, mixture)
        _check_rules(loaded, mixture)


def _spoken_in_phases(place: Location, phases: Sequence[PhaseSpec]) -> list[tuple[Location, str]]:
    """Where phases speak of which source."""
    spoken: list[tuple[Location, str]] = []
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


def _check_places(loaded: LoadedRecipe, mixture: MixtureSpec) -> None:
    """Sources are reserved for the decay, or for a phase or branch that exists."""
    branches = loaded.recipe.branches
    phases = [*mixture.phases, *(phase for branch in branches for phase in branch.phases)]
    places = dict.fromkeys(
        [DECAY, *(phase.name for phase in phases), *(branch.name for branch in branches)]
    )
    for source, place in mixture.reserve.items():
        if place not in places:
            raise loaded.file.error(
                ("mixture", "reserve", source),
                "no such phase or branch to reserve a source for",
                found=place,
                allowed=list(places),
                fix="name one of the above",
            )


def _check_rules(loaded: LoadedRecipe, mixture: MixtureSpec) -> None:
    """Reserved sources are shown where they may be, and held-out ones nowhere."""
    try:
        check_reserve(mixture.phases, mixture.rules, decayed=False, branch=None)
    except UserError as error:
        raise loaded.placed(error) from None
    for branch in loaded.recipe.branches:
        try:
            check_hold_out(branch.phases, mixture.rules)
            check_reserve(branch.phases, mixture.rules, decayed=False, branch=branch.name)
        except UserError as error:
            raise loaded.placed(of_branch(error, branch.name)) from None
