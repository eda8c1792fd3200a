"""The base of an experiment: the shards of its recipe, and what designs may know of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts.errors import UserError
from artifacts.paths import Store
from mixtures.parts.open_parts import open_shards
from mixtures.spec.bands import shown_beside
from mixtures.spec.resolve import resolve
from pipelines.executors.progress import Progress
from pipelines.run.driver import run_recipe
from pipelines.studies.experiment import LoadedExperiment
from pipelines.training.materials import Materials
from trainer.experiments.design import Base
from trainer.experiments.outcomes import Primary


@dataclass(frozen=True)
class Ground:
    """What the runs of an experiment stand on. ``held_out``: shards by source that every run is
    measured on, whatever it was shown.
    """

    store: Store
    record: dict[str, Any]
    materials: Materials
    base: Base
    held_out: dict[str, Path | str]


def ground(loaded: LoadedExperiment, runs: str, progress: Progress) -> Ground:
    """Make the shards of the base recipe where they are not there, and open them. Raises: UserError
    as :func:`pipelines.run.driver.run_recipe`, and when nothing is held out to measure losses on.
    """
    outcome = run_recipe(loaded.recipe, runs, workers=None, until="shards", progress=progress)
    materials = Materials.of(outcome.store, dict(outcome.record))
    recipe, experiment = loaded.recipe.recipe, loaded.experiment
    assert recipe.mixture is not None  # load_experiment has looked
    sources = materials.sources()
    available = {name: source.manifest.tokens for name, source in sources.items()}
    try:
        phases = resolve(recipe.mixture, available)
    except UserError as error:
        raise error.relocated(loaded.recipe.place) from None
    plain = {
        phase.decay: next(
            one for one in recipe.mixture.phases if one.name == phase.name
        ).model_copy(
            update={
                "weights": dict(phase.weights),
                "tokens": phase.tokens,
                **{"percent": None, "weights_from": None, "temperature": None, "preset": None},
                "bands": {},
                "ramp_tokens": 0,
            }
        )
        for phase in reversed(phases)
    }
    stable = plain.get(False) or plain[True]
    length = recipe.train.sequence_length
    held_out = materials.held_out(materials.folders, length)
    if not held_out:
        raise loaded.recipe.file.error(
            ("shards", "hold_out"),
            "nothing is held out that fills a window, so no loss can be measured",
            found=recipe.shards.hold_out,
            fix="hold out a larger share of the documents",
        )
    measured = tuple(sorted(map(shown_beside, held_out)))
    primary = experiment.primary.over(name for name, part in stable.weights.items() if part)
    _check_measured(loaded, primary, measured)
    base = Base(
        model=recipe.model,
        train=recipe.train,
        stable=stable,
        decay=plain.get(True),
        available=available,
        vocab_size=materials.tokenizer.vocab_size,
        primary=primary,
        loss_margin=experiment.margin,
        measured=measured,
    )
    return Ground(outcome.store, dict(outcome.record), materials, base, held_out)


def _check_measured(loaded: LoadedExperiment, primary: Primary, measured: tuple[str, ...]) -> None:
    unseen = sorted({*primary.sources} - {*measured})
    if unseen:
        raise loaded.file.error(
            ("primary", "sources"),
            "no document of this source is held out, so its loss is not measured",
            found=", ".join(unseen),
            allowed=measured,
            fix="name sources of which documents are held out",
        )


def held_out_digests(found: dict[str, Path | str]) -> dict[str, list[str]]:
    """What is measured, by the checksums of its parts."""
    return {
        name: [part.checksum for part in open_shards(folder).manifest.parts]
        for name, folder in sorted(found.items())
    }
