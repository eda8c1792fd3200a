"""What was confirmed of a search: means over seeds, the flat set, the paper's values beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from artifacts.statistics.estimates import Estimate, mean_of, paired_difference
from trainer.experiments.design import Base, Measured
from trainer.experiments.designs.search.space import Values
from trainer.experiments.designs.search.trials import CONFIRM, PAPERS, Trial, nats, values_of
from trainer.experiments.fits.search import FlatSet, flat_set


@dataclass(frozen=True)
class Confirmed:
    """A configuration under several seeds: ``losses`` in nats by seed; ``lost``: seeds without
    one.
    """

    name: str
    values: Values
    losses: dict[int, float]
    lost: tuple[int, ...]

    @property
    def mean(self) -> Estimate | None:
        """None for fewer than two losses, or where a seed diverged."""
        losses = list(self.losses.values())
        return None if self.lost or len(losses) < 2 else mean_of(losses)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        mean = None if self.mean is None else self.mean.to_json()
        losses = {str(seed): loss for seed, loss in self.losses.items()}
        facts = {"name": self.name, "values": self.values._asdict(), "losses": losses}
        return {**facts, "lost": list(self.lost), "mean": mean}


def confirmed_in(base: Base, measured: Sequence[Measured]) -> list[Confirmed]:
    """Configurations in the order in which they were confirmed."""
    primary = nats(base)
    by_name: dict[str, list[Measured]] = {}
    for one in measured:
        if one.point.at(stage=CONFIRM):
            by_name.setdefault(str(one["name"]), []).append(one)
    found = []
    for name, own in by_name.items():
        losses = {int(one["seed"]): primary.of(one.outcome) for one in own}
        known = {seed: loss for seed, loss in losses.items() if loss is not None}
        lost = tuple(seed for seed in losses if seed not in known)
        found.append(Confirmed(name, values_of(own[0]), known, lost))
    return found


def flat_of(trials: Sequence[Trial], confirmed: Sequence[Confirmed]) -> FlatSet | None:
    """The flat set; None where nothing is confirmed."""
    sound = {one.name: list(one.losses.values()) for one in confirmed if one.mean is not None}
    if not sound:
        return None
    lost = {one.name for one in confirmed} - set(sound)
    alone = {trial.name: trial.known for trial in trials if trial.name not in lost}
    return flat_set(alone, sound)


def paper_difference(confirmed: Sequence[Confirmed]) -> tuple[Estimate | None, str | None]:
    """Loss of the paper's values minus that of the best other, by seed; None with the reason."""
    sound = {one.name: one for one in confirmed if one.mean is not None}
    papers = sound.pop(PAPERS, None)
    if papers is None or not sound:
        return None, "the paper's values, or all others, have a seed that diverged"
    best = min(sound.values(), key=lambda one: (one.mean.value if one.mean else 0.0, one.name))
    return paired_difference(dict(papers.losses.items()), dict(best.losses.items())), None
