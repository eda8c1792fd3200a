"""Settings of a search, and the runs it wants next (arXiv 2404.06395, appendix A.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from artifacts.errors import UserError
from artifacts.extras import require
from trainer.experiments.design import Base, Design, Made, Measured, whole_batches
from trainer.experiments.designs.fields import Count, Seed
from trainer.experiments.designs.search.findings import found
from trainer.experiments.designs.search.journal import FILE, journal
from trainer.experiments.designs.search.results import Budgets
from trainer.experiments.designs.search.space import PAPER, Space, Values, first_points
from trainer.experiments.designs.search.trials import (
    CONFIRM,
    LONGER,
    PAPERS,
    TRIAL,
    Trial,
    proposals,
    trial_of,
    trials_in,
)
from trainer.experiments.designs.shape import shape
from trainer.experiments.findings import Findings
from trainer.experiments.runs import Label, Point, RunSpec
from trainer.shapes.parameter_counts import count_parameters

Factor = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class SearchDesign(Design):
    """``first`` points of ``trials`` fill the ``space``, the others are proposed ``round`` at a
    time. A run has ``tokens_per_parameter`` tokens for each parameter without the embedding, of
    which the last ``decay`` share decays.

    The ``best`` few and the paper's values are confirmed under ``confirm_seeds``, which are not the
    ``seed`` of trials: the best of many trials is a lucky one. ``alike`` of the first points are
    run at ``longer`` times the tokens; their ranks agree if they correlate by more than
    ``agreement``. ``search_seed`` decides the first points and the proposals.
    """

    kind: ClassVar[str] = "search"
    summary: ClassVar[str] = "values of the parameterisation, by search"

    width: Count = 64
    layers: Count = 2
    space: Space = Space()
    trials: Count = 64
    first: Count = 16
    round: Count = 8
    tokens_per_parameter: Factor = 10.0
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.1
    warmup: Annotated[int, Field(ge=0)] = 20
    seed: Seed = 1
    search_seed: Annotated[int, Field(ge=0, lt=1 << 31)] = 0
    best: Count = 5
    confirm_seeds: tuple[Seed, ...] = Field(default=(2, 3, 4), min_length=2)
    alike: Annotated[int, Field(ge=0)] = 16
    longer: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 2.0
    agreement: Annotated[float, Field(gt=0, lt=1)] = 0.7

    @model_validator(mode="after")
    def _stages_fit(self) -> SearchDesign:
        if self.first & (self.first - 1):
            near = 1 << max(1, self.first.bit_length() - 1)
            raise _error("first", self.first, "powers of two", f"give {near} or {2 * near}")
        for name, least in (("trials", self.first), ("trials", self.best)):
            if getattr(self, name) < least:
                raise _error(name, self.trials, f"at least {least}", f"give {least} or more")
        if self.alike > self.first:
            raise _error("alike", self.alike, f"0 to {self.first}", "run more first points")
        if self.alike and self.alike < 4:
            raise _error("alike", self.alike, "0, or at least 4", "give 0 to leave it out")
        if self.seed in self.confirm_seeds:
            others = tuple(seed + 1 for seed in range(self.seed, self.seed + 3))
            raise _error("confirm_seeds", self.confirm_seeds, f"not {self.seed}", f"give {others}")
        return self

    @property
    def grows(self) -> bool:
        return True

    def points(self, base: Base, made: Made) -> list[Point]:
        require("experiments")
        values, outcomes = self._trials(base, made)
        points = [self._trial(base, number, one) for number, one in enumerate(values)]
        points += [self._longer(base, number, values[number]) for number in range(self.alike)]
        if len(outcomes) == self.trials:
            points += self._confirmed(base, outcomes)
        return points

    def findings(self, base: Base, measured: Sequence[Measured]) -> Findings:
        require("experiments")
        longer = self.longer * self.tokens_per_parameter
        budgets = Budgets(self.tokens_per_parameter, longer, self.alike > 0, self.agreement)
        return found(base, measured, self.space, budgets)

    def files(self, base: Base, measured: Sequence[Measured]) -> dict[str, bytes]:
        """The trials as Optuna's tools read them."""
        return {FILE: journal(self.space, trials_in(base, measured))}

    def _trials(self, base: Base, made: Made) -> tuple[list[Values], list[Trial]]:
        """Values of all trials so far, and the trials, up to the first whose run is not made."""
        values = first_points(self.space, self.first, self.search_seed)
        trials: list[Trial] = []
        while True:
            for number in range(len(trials), len(values)):
                outcome = made(self._trial(base, number, values[number]).run)
                if outcome is None:
                    return values, trials
                trials.append(trial_of(base, number, values[number], outcome))
            if len(values) >= self.trials:
                return values, trials
            count = min(self.round, self.trials - len(values))
            seed = self.search_seed * self.trials + len(values)
            values += proposals(self.space, trials, count, seed % (1 << 32))

    def _confirmed(self, base: Base, trials: Sequence[Trial]) -> Iterator[Point]:
        """The best few trials and the paper's values under further seeds."""
        known = [trial for trial in trials if trial.known is not None]
        known.sort(key=lambda trial: (trial.loss, trial.number))
        best = [(one.name, one.values) for one in known[: self.best]]
        for name, values in [*best, (PAPERS, PAPER)]:
            for seed in self.confirm_seeds:
                labels = {"stage": CONFIRM, "name": name, "seed": seed, **values._asdict()}
                yield Point(labels, self._run(base, values, seed))

    def _trial(self, base: Base, number: int, values: Values) -> Point:
        labels: dict[str, Label] = {"stage": TRIAL, "trial": number, "seed": self.seed}
        return Point({**labels, **values._asdict()}, self._run(base, values, self.seed))

    def _longer(self, base: Base, number: int, values: Values) -> Point:
        labels: dict[str, Label] = {"stage": LONGER, "trial": number, "seed": self.seed}
        run = self._run(base, values, self.seed, self.longer)
        return Point({**labels, **values._asdict()}, run)

    def _run(self, base: Base, values: Values, seed: int, times: float = 1.0) -> RunSpec:
        scales = {name: value for name, value in values._asdict().items() if name != "lr"}
        model = {**shape(self.width, self.layers, self.width), **scales}
        batch = base.train.batch_tokens
        whole = RunSpec(model=model, phases=(base.stable_phase(batch),))
        parameters = count_parameters(base.config(whole)).non_embedding
        tokens = times * self.tokens_per_parameter * parameters
        decay = whole_batches(self.decay * tokens, batch)
        phases = [base.stable_phase(max(whole_batches(tokens, batch) - decay, batch))]
        phases += [base.plain_decay(decay)] if decay else []
        return RunSpec(
            model=model,
            train={"schedule": {"peak": values.lr, "warmup": self.warmup}},
            seed=seed,
            phases=tuple(phases),
        )


def _error(name: str, value: object, allowed: str, fix: str) -> UserError:
    return UserError(
        "the stages of a search fit one another",
        field=("design", name),
        found=value,
        allowed=[allowed],
        fix=fix,
    )
