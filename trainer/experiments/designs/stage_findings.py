"""What the arms of a two-stage ablation came to: losses by source, paired by the trunk's seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from trainer.experiments.design import Base, Measured
from trainer.experiments.designs.arms import Arms, Sources, cells
from trainer.experiments.designs.forest import forest
from trainer.experiments.findings import Cell, Figure, Findings, Table, stated
from trainer.experiments.verdicts import Claim, judge

WORDS = {
    "decay": "in the decay",
    "after": "only after the decay",
    "spread": "spread over all training",
    "none": "not shown",
}


@dataclass(frozen=True)
class Told:
    """What the design knows of its arms: the ``target``, the ``general`` sources beside it, those
    of the ``third`` kind, which no arm shows; tokens of the target ``shown`` by arm and
    ``available``; ``final``: the fraction of the peak at which the decay ends.
    """

    target: str
    general: Sources
    third: Sources
    shown: Mapping[str, int]
    available: int
    final: float

    @property
    def domains(self) -> dict[str, Sources]:
        """What losses are told of, by name: the target, the mean of the general sources, each
        third.
        """
        return {
            self.target: (self.target,),
            "general": self.general,
            **{name: (name,) for name in self.third},
        }


def stage_findings(base: Base, told: Told, measured: Sequence[Measured]) -> Findings:
    """Claims: with the target in the decay its loss is lower than with it only afterwards, and the
    general loss no worse by the margin (one family); the same against the other arms (another).
    """
    arms = Arms.of(measured, base.primary.unit)
    first, second = judge(_claims(arms, told, base)), judge(_further(arms, told, base))
    return Findings(
        claims=stated([*first, *second]),
        tables=(_ends(arms, told), _differences(arms, told)),
        figures=(_forest(arms, told),),
        notes=tuple(_notes(arms, told)),
        facts={
            "losses": {
                arm: {name: arms.losses(arm, sources) for name, sources in told.domains.items()}
                for arm in arms.outcomes
            },
            "target": {
                "source": told.target,
                "available_tokens": told.available,
                "tokens": dict(told.shown),
                "epochs": {arm: tokens / told.available for arm, tokens in told.shown.items()},
            },
            "verdicts": [one.to_json() for one in [*first, *second]],
        },
    )


def _claims(arms: Arms, told: Told, base: Base) -> list[Claim]:
    pair, target = ("decay", "after"), (told.target,)
    lower = f"{told.target}: a lower loss with it in the decay than with it only afterwards"
    general = "general loss: with the target in the decay no worse than with it only afterwards"
    return [
        arms.claim(lower, "better", pair, target, base.loss_margin),
        arms.claim(general, "not worse", pair, told.general, base.loss_margin),
    ]


def _further(arms: Arms, told: Told, base: Base) -> list[Claim]:
    claims = []
    if "spread" in arms.outcomes:
        name = f"{told.target}: a lower loss with it in the decay than spread over all training"
        pair = ("decay", "spread")
        claims.append(arms.claim(name, "better", pair, (told.target,), base.loss_margin))
    if "none" in arms.outcomes:
        name = "general loss: with the target in the decay no worse than without it"
        pair = ("decay", "none")
        claims.append(arms.claim(name, "not worse", pair, told.general, base.loss_margin))
    return claims


def _ends(arms: Arms, told: Told) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for arm, by_seed in arms.outcomes.items():
        tokens = told.shown.get(arm, 0)
        means = [arms.mean(arm, sources) for sources in told.domains.values()]
        rows.append((WORDS[arm], len(by_seed), tokens, tokens / told.available, *means))
    return Table(
        title=f"Losses at the end, by where {told.target} is shown ({arms.unit})",
        columns=("arm", "seeds", "target tokens", "target epochs", *told.domains),
        rows=tuple(rows),
        note=f"Means over seeds. General: the mean over {', '.join(told.general)}."
        + (f" No arm shows {', '.join(told.third)}." if told.third else ""),
    )


def _pairs(arms: Arms) -> list[tuple[str, str]]:
    against = [("decay", "after"), ("decay", "spread"), ("decay", "none"), ("after", "none")]
    return [pair for pair in against if all(arm in arms.outcomes for arm in pair)]


def _differences(arms: Arms, told: Told) -> Table:
    rows = [
        (f"{WORDS[one]} − {WORDS[other]}", name, *cells(arms.contrast(one, other, sources)))
        for one, other in _pairs(arms)
        for name, sources in told.domains.items()
    ]
    return Table(
        title=f"Differences paired by seed ({arms.unit})",
        columns=("arms", "loss of", "difference", "low", "high"),
        rows=tuple(rows),
        note="95 % t-intervals over trunk seeds; below 0 the first arm is better.",
    )


def _forest(arms: Arms, told: Told) -> Figure:
    reference = "none" if "none" in arms.outcomes else [*arms.outcomes][-1]
    shown = {arm: WORDS[arm] for arm in arms.outcomes if arm != reference}
    own = {told.target: told.domains[told.target]}
    others = {name: sources for name, sources in told.domains.items() if name not in own}
    seeds = max((len(by_seed) for by_seed in arms.outcomes.values()), default=0)
    return Figure(
        name="stages",
        title=f"What {told.target} does, by where it is shown",
        caption=f"Loss minus that of the arm “{WORDS[reference]}”, by what is measured. A dot is a "
        f"mean over {seeds} trunk seeds, a bar the 95 % t-interval of differences paired by seed.",
        panels=tuple(
            forest(arms, shown, (reference, WORDS[reference]), domains) for domains in (own, others)
        ),
    )


def _notes(arms: Arms, told: Told) -> Iterator[str]:
    yield from arms.diverged
    yield (
        f"After the decay {told.target} is shown at {told.final:g} of the peak rate, where the "
        "decay ended; a rate tuned for that stage was not looked for."
    )
    yield (
        "The arms that show the target show the same tokens of it in the same order. What its loss "
        "gains over the arm without it is no more than that a source that is shown is learnt; the "
        "question is where to show it. All arms are equally long: the one without the target shows "
        "general text in its place."
    )
    if not told.third:
        yield (
            "No third set was measured: name sources as third, which are then left out of all arms."
        )
