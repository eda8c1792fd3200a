"""The gradient noise scale: how large a batch has to be for its gradient to be mostly signal.

A gradient over b sequences is the true one, G, and noise of variance S/b in all. From the m
micro-batches of one step, whose gradients g_j are over b_j sequences each, and their mean g_B over
all B,

    S  = (sum of b_j |g_j|^2 - B |g_B|^2) / (m - 1)        |G|^2 = |g_B|^2 - S / B
    noise scale = S / |G|^2

(McCandlish et al., arXiv 1812.06162, appendix A.1, there with one micro-batch beside the whole; all
m of them make both estimates much less noisy.) Either is unbiased, their ratio is not: so means
over steps are kept of both, and the ratio is that of the means. Gradients are raw, as they are
before clipping.

A micro-batch counts as many sequences as its share of the targets: with a target at every token
that is its rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from artifacts.errors import UserError
from trainer.objectives.gradient import PartGradient
from trainer.probes.probe import Probe, Steps, WatchedStep
from trainer.probes.vectors import squares

ALL = "all"
"""The group of every parameter."""


@dataclass(frozen=True)
class Noise:
    """``signal`` is the squared norm of the true gradient, ``noise`` the variance of a gradient
    over one sequence; estimates, of which the first may come out negative.
    """

    signal: float
    noise: float

    @classmethod
    def of_parts(cls, parts: Iterable[tuple[float, float]], whole: float) -> Noise | None:
        """From the sequences and the squared gradient norm of each micro-batch, and the squared
        norm of their mean weighted by sequences; None for fewer than two micro-batches.

        >>> Noise.of_parts([(1.0, 5.0), (1.0, 5.0)], whole=4.0)
        Noise(signal=3.0, noise=2.0)
        """
        counted = [(sequences, square) for sequences, square in parts if sequences > 0]
        if len(counted) < 2:
            return None
        batch = sum(sequences for sequences, _ in counted)
        within = sum(sequences * square for sequences, square in counted) - batch * whole
        noise = within / (len(counted) - 1)
        return cls(whole - noise / batch, noise)

    @property
    def finite(self) -> bool:
        return math.isfinite(self.signal) and math.isfinite(self.noise)

    @property
    def scale(self) -> float | None:
        """Sequences of a batch whose gradient is half noise; None where no signal is seen."""
        return self.noise / self.signal if self.signal > 0 else None

    def cosine(self, sequences: float) -> float | None:
        """Of the gradients of two independent batches at the same weights, 1 / (1 + scale / B):
        what the noise alone makes of it. None where there is no gradient.
        """
        whole = self.signal + self.noise / sequences
        return self.signal / whole if whole > 0 else None


class NoiseMeans:
    """Running means of both estimates by group: of n steps ago a step counts 2^(-n / ``half_life``)
    as much as the last one; infinite for the plain mean.
    """

    def __init__(self, half_life: float) -> None:
        self._keep = 0.5 ** (1.0 / half_life)
        self._sums: dict[str, tuple[float, float, float]] = {}

    def add(self, noises: Mapping[str, Noise]) -> None:
        """Count a step's estimates, by group."""
        for group, noise in noises.items():
            weight, signal, variance = (
                self._keep * value for value in self._sums.get(group, (0.0, 0.0, 0.0))
            )
            self._sums[group] = (weight + 1.0, signal + noise.signal, variance + noise.noise)

    def mean(self, group: str = ALL) -> Noise | None:
        """The mean estimates of a group, None before the first."""
        weight, signal, variance = self._sums.get(group, (0.0, 0.0, 0.0))
        return Noise(signal / weight, variance / weight) if weight else None

    def state(self) -> dict[str, Tensor]:
        return {
            f"noise.{group}": torch.tensor(sums, dtype=torch.float64)
            for group, sums in self._sums.items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._sums = {
            name.removeprefix("noise."): (float(sums[0]), float(sums[1]), float(sums[2]))
            for name, sums in state.items()
            if name.startswith("noise.")
        }


class StepNoise:
    """The squared norms of one step's micro-gradients by group: numbers, however many there are."""

    def __init__(self) -> None:
        self.parts: dict[str, list[tuple[float, float]]] = {}
        self.seen = 0

    def add(self, step: WatchedStep, part: PartGradient) -> None:
        """Count the micro-batch whose gradient stands; one that has no target counts nothing."""
        self.seen += 1
        if part.normaliser <= 0:
            return
        share = part.normaliser / part.whole
        for group, square in group_squares(step).items():
            counted = (share * step.sequences, square / share**2)
            self.parts.setdefault(group, []).append(counted)

    def noises(self, step: WatchedStep) -> dict[str, Noise]:
        """The estimates by group, now that the gradient of the step stands; none from fewer than
        two micro-batches with targets, or from gradients that are not finite.
        """
        found = {
            group: Noise.of_parts(self.parts.get(group, ()), whole)
            for group, whole in group_squares(step).items()
        }
        return {group: noise for group, noise in found.items() if noise and noise.finite}


def group_squares(step: WatchedStep) -> dict[str, float]:
    """The squared norm of the gradient that stands, of each group of the optimizer and of all."""
    gradients = step.gradients()
    found = {
        group.name: squares(gradients[name] for name in group.names if name in gradients)
        for group in step.optimizer.groups
    }
    return {ALL: sum(found.values()), **found}


class NoiseScale(Probe):
    """The noise scale of every measured step, of all parameters and of each group (the embedding
    has most of the norm): the estimates of the step, their running means, and the ratio of these in
    sequences and in tokens.

    A batch that is one micro-batch says nothing about its noise: that is an error of its step.
    """

    def __init__(
        self, steps: Steps | None = None, half_life: float = 20.0, name: str = "noise_scale"
    ) -> None:
        """``half_life`` of the running means, in measured steps. Raises: UserError when it is not
        above 0.
        """
        if not half_life > 0:
            raise UserError(
                "a running mean has a half-life above 0",
                parameter="half_life",
                found=half_life,
                fix="give a number of measured steps, or inf for the plain mean",
            )
        self.steps, self._name = steps or Steps(), name
        self._means = NoiseMeans(half_life)
        self._step = StepNoise()
        self._noises: dict[str, Noise] = {}

    @property
    def name(self) -> str:
        return self._name

    def wants_parts(self, step: WatchedStep) -> bool:
        self._step, self._noises = StepNoise(), {}
        return step.step in self.steps

    def part(self, step: WatchedStep, part: PartGradient) -> None:
        self._step.add(step, part)

    def gradient(self, step: WatchedStep) -> None:
        if step.step not in self.steps:
            return
        if self._step.seen == 1:
            raise UserError(
                f"step {step.step} is one micro-batch: the noise scale needs at least two",
                field="train.micro_batch_tokens",
                found=f"{step.rows * step.window} tokens of {step.sequences * step.window}",
                fix=_smaller(step),
            )
        self._noises = self._step.noises(step)

    def line(self, step: WatchedStep) -> dict[str, Any] | None:
        if step.step not in self.steps:
            return None
        self._means.add(self._noises)
        return {
            "micro_batches": self._step.seen,
            "sequences": step.sequences,
            "groups": {
                group: self._figures(group, step.window)
                for group in (ALL, *(group.name for group in step.optimizer.groups))
            },
        }

    def _figures(self, group: str, window: int) -> dict[str, Any]:
        noise, mean = self._noises.get(group), self._means.mean(group)
        scale = None if mean is None else mean.scale
        return {
            "signal": None if noise is None else noise.signal,
            "noise": None if noise is None else noise.noise,
            "mean_signal": None if mean is None else mean.signal,
            "mean_noise": None if mean is None else mean.noise,
            "scale_sequences": scale,
            "scale_tokens": None if scale is None else scale * window,
        }

    def state(self) -> dict[str, Tensor]:
        return self._means.state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._means.restore(state)


def _smaller(step: WatchedStep) -> str:
    """What gives a step more than one micro-batch."""
    if step.sequences < 2:
        return f"give train.batch_tokens at least {2 * step.window}, two windows"
    half = math.ceil(step.sequences / 2) * step.window
    return f"give at most {half}, half a batch"
