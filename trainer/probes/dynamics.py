"""What gradients and weights do through a decay (arXiv 2404.06395, section 4.4, Figure 8).

    update of step s-1 ─ gradient of step s ─▶ cosine, D1, D2, K across batches, as in the paper
                       ─ a second gradient of the batch of step s-1 ─▶ D1, D2, K on one batch
    update of step s   ─▶ how far all weights went, and each tensor

Gradients are raw and of all parameters; products are summed in fp64. What it takes: a second
gradient in each measured step, and memory for the gradient and the weights of the step before.

Two of the paper's figures rise by themselves: batches that are independent have gradients of cosine
1 / (1 + noise scale / B), and across batches D2 has the noise of the first gradient in it
(:mod:`trainer.probes.curvature`). So the line of the cosine and the figures on the same batch stand
beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainer.objectives.gradient import PartGradient, pending_loss
from trainer.probes.curvature import Bend
from trainer.probes.noise_scale import NoiseMeans, StepNoise
from trainer.probes.pieces import pieces
from trainer.probes.probe import Probe, Steps, WatchedStep
from trainer.probes.vectors import dot, squares

_GRADIENT, _WEIGHTS, _SAME_BATCH = "gradient.", "weights.", "same_batch"
_NO_BEND = {"d1": None, "d2": None, "curvature": None}


@dataclass(frozen=True)
class Before:
    """Gradient and weights before the update of a step, copies by name, and how the gradient of its
    own batch changed along that.
    """

    gradient: Mapping[str, Tensor]
    weights: Mapping[str, Tensor]
    same_batch: Bend | None = None

    @classmethod
    def of(cls, step: WatchedStep) -> Before:
        """Copies of what stands."""
        return cls(_copies(step.gradients()), _copies(step.weights()))

    def state(self) -> dict[str, Tensor]:
        found = {_GRADIENT + name: value for name, value in self.gradient.items()}
        found |= {_WEIGHTS + name: value for name, value in self.weights.items()}
        if self.same_batch is not None:
            both = (self.same_batch.d1, self.same_batch.d2)
            found[_SAME_BATCH] = torch.tensor(both, dtype=torch.float64)
        return found

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Before | None:
        """None where the state has none."""
        gradient, weights = (
            {
                name.removeprefix(part): value
                for name, value in state.items()
                if name.startswith(part)
            }
            for part in (_GRADIENT, _WEIGHTS)
        )
        if not weights:
            return None
        same = state.get(_SAME_BATCH)
        bend = None if same is None else Bend(float(same[0]), float(same[1]))
        return cls(gradient, weights, bend)

    def beside(self, step: WatchedStep) -> Before:
        """The same where the model of a step is, and in the order of its tensors, in which sums
        are made.
        """
        device = step.model.embedding.device
        gradient, weights = (
            {name: tensors[name].to(device) for name in step.optimizer.named if name in tensors}
            for tensors in (self.gradient, self.weights)
        )
        return Before(gradient, weights, self.same_batch)


class Dynamics(Probe):
    """A line for each step from ``first`` to ``last``. In the line of step s are

    - ``lr``, ``grad_norm`` and ``change`` (the norm of all, the largest of any element, and both by
      tensor) of step s;
    - ``cosine`` of its gradient and that of step s - 1, and ``independent_cosine``: what it would
      be of independent batches at the same weights, from running means of the noise scale, null
      where a step is one micro-batch;
    - ``d1``, ``d2``, ``curvature`` along the update of step s - 1, from the gradients of both
      steps, and ``same_batch`` the three from two gradients of the batch of step s - 1.

    What speaks of a step before the first that was measured is null.
    """

    def __init__(
        self,
        first: int = 1,
        last: int | None = None,
        half_life: float = 20.0,
        name: str = "dynamics",
    ) -> None:
        """``half_life``: of the running means of the noise scale, in steps."""
        self.steps, self._name = Steps(first, last), name
        self._noise, self._step = NoiseMeans(half_life), StepNoise()
        self._before: Before | None = None
        self._figures: dict[str, Any] = {}

    @property
    def name(self) -> str:
        return self._name

    def wants_parts(self, step: WatchedStep) -> bool:
        self._step = StepNoise()
        return step.step in self.steps and step.rows < step.sequences

    def part(self, step: WatchedStep, part: PartGradient) -> None:
        self._step.add(step, part)

    def gradient(self, step: WatchedStep) -> None:
        if step.step not in self.steps:
            return
        before = None if self._before is None else self._before.beside(step)
        self._noise.add(self._step.noises(step))
        self._figures = self._across(step, before)
        self._before = Before.of(step)

    def line(self, step: WatchedStep) -> dict[str, Any] | None:
        if step.step not in self.steps or self._before is None:
            return None
        same = self._same_batch(step, self._before)
        change = _change(step, self._before)
        last = step.step == self.steps.last
        self._before = None if last else Before(self._before.gradient, self._before.weights, same)
        return {**self._figures, "change": change}

    def _across(self, step: WatchedStep, before: Before | None) -> dict[str, Any]:
        """What the gradient that stands says, by itself and beside that of the step before."""
        gradient = step.gradients()
        norm = squares(gradient.values()) ** 0.5
        mean = self._noise.mean()
        cosine = bend = same = None
        if before is not None:
            norms = norm * squares(before.gradient.values()) ** 0.5
            cosine = dot(gradient, before.gradient) / norms if norms > 0 else None
            bend = Bend.along((before.weights, step.weights()), (before.gradient, gradient))
            same = before.same_batch
        return {
            "lr": step.lr,
            "grad_norm": norm,
            "cosine": cosine,
            "independent_cosine": None if mean is None else mean.cosine(step.sequences),
            **(_NO_BEND if bend is None else bend.to_json()),
            "same_batch": _NO_BEND if same is None else same.to_json(),
        }

    def _same_batch(self, step: WatchedStep, before: Before) -> Bend | None:
        """Along the update just made, from a second gradient of its batch; None where there was
        none to make.
        """
        if not before.gradient:
            return None
        pending_loss(step.objective, step.model, step.batch, step.place, step.rows, backward=True)
        bend = Bend.along((before.weights, step.weights()), (before.gradient, step.gradients()))
        step.optimizer.zero_grad()
        return bend

    def state(self) -> dict[str, Tensor]:
        own = {} if self._before is None else self._before.state()
        return {**own, **self._noise.state()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._before = Before.from_state(state)
        self._noise.restore(state)


def _change(step: WatchedStep, before: Before) -> dict[str, Any]:
    """How far the update took the weights: Euclidean norm and largest element, of all and by
    tensor.
    """
    after, tensors, square, largest = step.weights(), {}, 0.0, 0.0
    for piece in pieces(step.model):
        change = piece.of(after).double() - piece.of(before.weights).double()
        own = squares([change])
        most = float(change.abs().max())
        tensors[piece.name] = {"norm": own**0.5, "max": most}
        square, largest = square + own, max(largest, most)
    return {"norm": square**0.5, "max": largest, "tensors": tensors}


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies that keep every bit, in fp32 at least."""
    return {
        name: tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32), copy=True)
        for name, tensor in tensors.items()
    }
