"""Which mixture a decay should have: many short decays from one trunk, a regression, and a check.

train       mixtures drawn around a prior, each a decay of the trunk of one seed
test        further ones, on which the regressions are judged
trial       those that Optuna asks for, where it is to search beside
proposed    the best that the regression foresees, over trunks of other seeds, beside
            *default* (the prior), *own share* (as much of one source as is allowed) and
            *searched* (the best trial)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from artifacts.errors import UserError
from artifacts.settings import Part
from trainer.experiments.design import Base, Design, Made, Measured, whole_batches
from trainer.experiments.designs.fields import Count, Seed
from trainer.experiments.designs.mixtures.findings import Told, mixture_findings
from trainer.experiments.designs.mixtures.proposals import Foreseen, proposals
from trainer.experiments.designs.mixtures.space import Mixture, Space
from trainer.experiments.designs.mixtures.trials import trials
from trainer.experiments.designs.shape import shape
from trainer.experiments.designs.sources import available, check_source, phase_of
from trainer.experiments.findings import Findings
from trainer.experiments.fits.mixture_proposals import STRENGTHS, Bounds, bounds_of_epochs
from trainer.experiments.fits.mixture_regression import LEAST_MIXTURES
from trainer.experiments.outcomes import Outcome
from trainer.experiments.runs import Label, Point, RunSpec

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class Size(Part):
    """A model, tokens of its ``trunk`` at the stable rate and of each ``decay`` after it."""

    width: Count
    layers: Count
    trunk: Count
    decay: Count

    @property
    def name(self) -> str:
        return f"{self.width}x{self.layers}"


class Trials(Part):
    """A search by Optuna: ``rounds`` of ``size`` mixtures; the first is drawn evenly."""

    rounds: Count = 4
    size: Annotated[int, Field(ge=2)] = 8


class MixturesDesign(Design):
    """``prior``: weights to draw around, default the recipe's decay (or stable) mixture; ``least``
    and ``most`` bound shares, ``epochs`` caps how often any source is shown. ``train`` and ``test``
    mixtures are decays of ``decay`` tokens after ``trunk`` tokens of the trunk of ``seed``, those
    of the test at a ``larger`` size too; ``proposed`` are verified over trunks of ``verify_seeds``.
    ``own``: the source of which the baseline takes all it can, default the one of the primary with
    the largest prior. ``kappa`` deviations are taken off a foreseen loss.
    """

    kind: ClassVar[str] = "mixtures"
    summary: ClassVar[str] = "the best mixture of a decay, by a regression over short ones"

    trunk: Count
    decay: Count
    width: Count = 48
    layers: Count = 2
    base_width: Count | None = None
    warmup: Annotated[int, Field(ge=0)] = 20
    prior: dict[str, Positive] = {}
    least: dict[str, Share] = {}
    most: dict[str, Share] = {}
    epochs: Count = 1
    strengths: tuple[Positive, Positive] = STRENGTHS
    train: Annotated[int, Field(ge=LEAST_MIXTURES)] = 64
    test: Annotated[int, Field(ge=6)] = 16
    seed: Seed = 1
    draw_seed: Seed = 1
    own: str | None = None
    kappa: Annotated[float, Field(ge=0)] = 1.0
    proposed: Count = 3
    verify_seeds: tuple[Seed, ...] = Field((2, 3, 4), min_length=1)
    optuna: Trials | None = None
    larger: Size | None = None

    def points(self, base: Base, made: Made) -> list[Point]:
        space, points = self._space(base), []
        drawn = self._drawn(space)
        for arm, mixtures in drawn.items():
            points += self._numbered(base, space, arm, mixtures)
        if self.larger is not None:
            points += self._numbered(base, space, "larger", drawn["test"], self.larger)
        tried, searched = self._trials(base, space, made)
        points += self._numbered(base, space, "trial", tried)
        for arm, mixture in self._verified(base, space, made, searched).items():
            for seed in self.verify_seeds:
                labels = {"arm": arm, "seed": seed, **_labels(space, mixture)}
                points.append(Point(labels, self._run(base, space, mixture, seed)))
        return points

    def findings(self, base: Base, measured: Sequence[Measured]) -> Findings:
        space = self._space(base)
        outcomes = {one.point.run.identity: one.outcome for one in measured}

        def made(run: RunSpec) -> Outcome | None:
            return outcomes.get(run.identity)

        told = Told(
            space=space,
            own=self._own(base, space),
            foreseen=self._foreseen(base, space, made),
            seed=self.seed,
            larger=None if self.larger is None else self.larger.name,
            trials=None if self.optuna is None else self.optuna.rounds * self.optuna.size,
        )
        return mixture_findings(base, told, measured)

    @property
    def _size(self) -> Size:
        return Size(width=self.width, layers=self.layers, trunk=self.trunk, decay=self.decay)

    def _space(self, base: Base) -> Space:
        """Raises: UserError for sources that are not there, and bounds that no mixture is in."""
        phase = base.decay or base.stable
        weights = self.prior or {name: part for name, part in phase.weights.items() if part}
        names = tuple(sorted(weights))
        for name in names:
            check_source(base, name, "prior", shown=True)
        for field in ("least", "most"):
            for name in getattr(self, field):
                if name not in names:
                    raise UserError(
                        "a bound on a source that no mixture has",
                        field=("design", field),
                        found=name,
                        allowed=names,
                        fix="name a source of the prior",
                    )
        if len(names) < 2:
            raise UserError(
                "a mixture has at least two sources",
                field=("design", "prior"),
                found=", ".join(names),
                fix="give the prior a further source",
            )
        caps = self._caps(base, names)
        total = math.fsum(weights.values())
        return Space(
            names,
            tuple(weights[name] / total for name in names),
            Bounds(
                tuple(self.least.get(name, 0.0) for name in names),
                tuple(min(self.most.get(n, 1.0), cap) for n, cap in zip(names, caps, strict=True)),
            ),
        )

    def _caps(self, base: Base, names: Sequence[str]) -> list[float]:
        """The largest share of each source that what its trunk leaves of it allows."""
        batch, caps = base.train.batch_tokens, [1.0] * len(names)
        for size in (self._size, self.larger or self._size):
            trunk, decay = whole_batches(size.trunk, batch), whole_batches(size.decay, batch)
            left = []
            for name in names:
                # a batch of room, since windows of whole documents are not full
                shown = base.stable.weights.get(name, 0.0) * trunk + batch
                left.append(max(self.epochs * available(base, name) - shown, 1.0))
            caps = [*map(min, caps, bounds_of_epochs(left, decay, 1).most)]
        return caps

    def _own(self, base: Base, space: Space) -> str:
        """Raises: UserError for a source that no mixture has."""
        mixed = [name for name in base.primary.sources if name in space.names] or [*space.names]
        prior = dict(zip(space.names, space.prior, strict=True))
        own = self.own or max(mixed, key=lambda name: (prior[name], name))
        if own not in space.names:
            raise UserError(
                "the baseline is the share of a source that mixtures have",
                field=("design", "own"),
                found=own,
                allowed=space.names,
                fix="name one of these",
            )
        return own

    def _drawn(self, space: Space) -> dict[str, list[Mixture]]:
        train = space.draws(self.train, 2 * self.draw_seed, self.strengths)
        test = space.draws(self.test, 2 * self.draw_seed + 1, self.strengths, beside=train)
        return {"train": train, "test": test}

    def _numbered(
        self,
        base: Base,
        space: Space,
        arm: str,
        mixtures: Sequence[Mixture],
        size: Size | None = None,
    ) -> list[Point]:
        return [
            Point(
                {"arm": arm, "seed": self.seed, "number": number, **_labels(space, mixture)},
                self._run(base, space, mixture, self.seed, size),
            )
            for number, mixture in enumerate(mixtures)
        ]

    def _run(
        self, base: Base, space: Space, mixture: Mixture, seed: int, size: Size | None = None
    ) -> RunSpec:
        """A decay of the trunk of a seed; ``size``: another than the study's."""
        batch, of = base.train.batch_tokens, size or self._size
        stable, decay = whole_batches(of.trunk, batch), whole_batches(of.decay, batch)
        settings: dict[str, Any] = {"schedule": {"warmup": self.warmup}}
        trunk = RunSpec(
            model=shape(of.width, of.layers, self.base_width),
            train=settings,
            seed=seed,
            phases=(base.stable_phase(stable),),
            cap=self.epochs,
        )
        ending = phase_of(base, "decay", decay, space.shares(mixture), True)
        return trunk.ended((ending,), stable // batch)

    def _losses(
        self, base: Base, space: Space, mixtures: Sequence[Mixture], made: Made
    ) -> list[float | None] | None:
        """Of all mixtures (None for those that diverged), or None while one is not made."""
        found: list[float | None] = []
        for mixture in mixtures:
            outcome = made(self._run(base, space, mixture, self.seed))
            if outcome is None:
                return None
            found.append(base.primary.of(outcome))
        return found

    def _foreseen(self, base: Base, space: Space, made: Made) -> tuple[Foreseen, ...]:
        mixtures = self._drawn(space)["train"]
        losses = self._losses(base, space, mixtures, made)
        pairs = [
            (mixture, loss)
            for mixture, loss in zip(mixtures, losses or [], strict=False)
            if loss is not None
        ]
        return proposals(
            space,
            tuple(mixture for mixture, _ in pairs),
            tuple(loss for _, loss in pairs),
            self.proposed,
            self.kappa,
            2 * self.draw_seed,
        )

    def _trials(self, base: Base, space: Space, made: Made) -> tuple[list[Mixture], Mixture | None]:
        """Trials that are asked for so far, and the best one, once all are made."""
        if self.optuna is None:
            return [], None
        size, rounds = self.optuna.size, self.optuna.rounds
        asked: list[Mixture] = []
        known: list[float | None] = []
        for number in range(rounds):
            told = [math.log(base.vocab_size) if loss is None else loss for loss in known]
            asked = trials(space, told, size, rounds, self.draw_seed)
            later = self._losses(base, space, asked[number * size :], made)
            if later is None:
                return asked, None
            known += later
        pairs = [(loss, place) for place, loss in enumerate(known) if loss is not None]
        return asked, asked[min(pairs)[1]] if pairs else None

    def _verified(
        self, base: Base, space: Space, made: Made, searched: Mixture | None
    ) -> dict[str, Mixture]:
        """Mixtures to verify by arm, once it is known which."""
        foreseen = self._foreseen(base, space, made)
        arms = {"default": space.default, "own share": space.most_of(self._own(base, space))}
        arms |= {f"proposed {place}": one.mixture for place, one in enumerate(foreseen, 1)}
        if searched is not None:
            arms["searched"] = searched
        return arms


def _labels(space: Space, mixture: Mixture) -> dict[str, Label]:
    return {f"share {name}": share for name, share in zip(space.names, mixture, strict=True)}
