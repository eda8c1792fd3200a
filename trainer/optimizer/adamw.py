"""AdamW over the groups of the parameterisation, the same bits every time.

    groups = parameter_groups(model, config, peak=0.01, weight_decay=0.1)
    optimizer = AdamW(groups, betas=(0.9, 0.95), eps=1e-8)
    loss.backward()
    norm = optimizer.clip(1.0)
    optimizer.step(rate(spec, step))
    optimizer.zero_grad()

The update is torch's fused AdamW (decoupled decay, Loshchilov and Hutter, arXiv 1711.05101):

    m = b1 m + (1-b1) g, v = b2 v + (1-b2) g^2, p = p - lr (wd p + m' / (sqrt(v') + eps)),

with m', v' corrected for their start at zero by the number of updates. Which steps count as one is
said by :mod:`trainer.optimizer.rule`: those that have a gradient.

Parameters of a CPU in fp32 (or fp64) are updated by torch itself (:class:`TorchUpdate`). On a GPU,
and wherever the model computes in bf16, one kernel updates fp32 masters and writes their bf16
copies (:class:`trainer.optimizer.master_weights.MasterUpdate`). No call here waits for a GPU but
:attr:`AdamW.updates`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from artifacts.errors import UserError
from trainer.kernels.gradient_norm import euclidean_norm
from trainer.model.parameterisation import ParameterGroup
from trainer.optimizer.master_weights import MasterUpdate
from trainer.optimizer.rule import UpdateCount

FIRST, SECOND = "exp_avg", "exp_avg_sq"


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Euclidean norm (fp64 scalar) of all gradients, summed in fp64 and in the order given; absent
    gradients count as 0.
    """
    return euclidean_norm([parameter.grad for parameter in parameters])


class AdamW:
    """One optimizer of a whole model; knows its tensors by name, which is how checkpoints store
    weights and moments.

    ``compute``: the type the model is to compute in, its own unless given. For bf16 the values it
    has become the masters, and the model keeps bf16 copies of them, whose gradients are fp32 where
    torch has ``grad_dtype`` (2.10 and later).
    """

    def __init__(
        self,
        groups: Sequence[ParameterGroup],
        *,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        compute: torch.dtype | None = None,
    ) -> None:
        self.groups = tuple(groups)
        self.named: dict[str, nn.Parameter] = {
            name: parameter
            for group in self.groups
            for name, parameter in zip(group.names, group.parameters, strict=True)
        }
        self._rule = UpdateCount().rule
        plain = compute != torch.bfloat16 and all(
            parameter.device.type == "cpu" for parameter in self.named.values()
        )
        self._update: TorchUpdate | MasterUpdate = (TorchUpdate if plain else MasterUpdate)(
            self.groups, betas, eps, compute
        )

    @property
    def updates(self) -> int:
        """Updates made; steps that were skipped or had no gradient do not count. Waits for a
        GPU.
        """
        return self._update.updates

    @property
    def count(self) -> UpdateCount:
        """The updates made and the rule they are counted by. Waits for a GPU."""
        return UpdateCount(rule=self._rule, updates=self.updates)

    def step(self, rate: float) -> None:
        """Update every tensor that has a gradient at ``rate`` times its group's multiplier, clipped
        as the :meth:`clip` before said.

        Where that met a norm or a loss that is not finite, everything stays as it was.
        """
        self._update.step(rate)

    def clip(self, limit: float | None, loss: Tensor | None = None) -> Tensor:
        """Bring all gradients down to a joint norm of ``limit`` in the next :meth:`step`; returns
        the norm before (fp64 scalar).

        None only measures. On a CPU in fp32 the gradients themselves are scaled, at once. ``loss``:
        a scalar that must be finite too.
        """
        return self._update.clip(limit, loss)

    def zero_grad(self) -> None:
        """Forget the gradients; the next backward pass starts them anew."""
        for parameter in self.named.values():
            parameter.grad = None

    def weights(self) -> dict[str, Tensor]:
        """The weights by name as a checkpoint keeps them, the live tensors: masters where there are
        any.
        """
        return dict(zip(self.named, self._update.masters(), strict=True))

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take over stored ``weights`` of the same names and shapes, into masters and model."""
        with torch.no_grad():
            for (name, parameter), master in zip(
                self.named.items(), self._update.masters(), strict=True
            ):
                master.copy_(weights[name])
                if master is not parameter:
                    parameter.copy_(master)

    def moments(self) -> dict[str, tuple[Tensor, Tensor]]:
        """First and second moment of each tensor by name, the live tensors; zeros before the first
        update.
        """
        return dict(zip(self.named, self._update.moments(), strict=True))

    def restore(self, moments: Mapping[str, tuple[Tensor, Tensor]], count: UpdateCount) -> None:
        """Take over stored ``moments`` and the ``count`` of updates done, whose rule holds from
        here on; UserError where names or shapes differ.
        """
        if set(moments) != set(self.named):
            odd = sorted(set(moments) ^ set(self.named))
            raise UserError(
                "the optimizer's state belongs to another model",
                found=odd[0],
                fix="resume with the model the checkpoint was made of",
            )
        for name, parameter in self.named.items():
            first, second = moments[name]
            if first.shape != parameter.shape or second.shape != parameter.shape:
                raise UserError(
                    f"moments of {name} have shape {tuple(first.shape)}, the model's tensor "
                    f"{tuple(parameter.shape)}",
                    field=name,
                    fix="resume with the model the checkpoint was made of",
                )
        self._rule = count.rule
        self._update.restore([moments[name] for name in self.named], count)


class TorchUpdate:
    """Parameters updated by torch's fused AdamW, in their own type; for a CPU, where reading a
    figure costs nothing.
    """

    def __init__(
        self,
        groups: Sequence[ParameterGroup],
        betas: tuple[float, float],
        eps: float,
        compute: torch.dtype | None = None,
    ) -> None:
        self.groups = groups
        self.parameters = [parameter for group in groups for parameter in group.parameters]
        self._skip = False
        settings = [
            {"params": list(group.parameters), "lr": group.lr, "weight_decay": group.weight_decay}
            for group in groups
        ]
        self._torch = torch.optim.AdamW(settings, betas=betas, eps=eps, fused=True)
        zeros = [torch.zeros_like(parameter.data) for parameter in self.parameters]
        self.restore([(zero, zero) for zero in zeros], UpdateCount())

    def clip(self, limit: float | None, loss: Tensor | None) -> Tensor:
        found = gradient_norm(self.parameters)
        norm = float(found)
        self._skip = not (math.isfinite(norm) and (loss is None or math.isfinite(float(loss))))
        if limit is not None and norm > limit and not self._skip:
            for parameter in self.parameters:
                if parameter.grad is not None:
                    parameter.grad.mul_(limit / norm)
        return found

    def step(self, rate: float) -> None:
        skip, self._skip = self._skip, False
        if skip or all(parameter.grad is None for parameter in self.parameters):
            return
        for settings, group in zip(self._torch.param_groups, self.groups, strict=True):
            settings["lr"] = rate * group.lr_multiplier
        for state in self._torch.state.values():
            # torch counts a tensor's own updates; here one count holds for all
            state["step"].fill_(self.updates)
        self._torch.step()
        self.updates += 1

    def masters(self) -> Sequence[Tensor]:
        return self.parameters

    def moments(self) -> list[tuple[Tensor, Tensor]]:
        states = [self._torch.state[parameter] for parameter in self.parameters]
        return [(state[FIRST], state[SECOND]) for state in states]

    def restore(self, moments: Sequence[tuple[Tensor, Tensor]], count: UpdateCount) -> None:
        for parameter, (first, second) in zip(self.parameters, moments, strict=True):
            # torch would begin a tensor's state at its own first update
            self._torch.state[parameter] = {
                "step": torch.tensor(float(count.updates), dtype=torch.float32),
                FIRST: first.to(parameter, copy=True),
                SECOND: second.to(parameter, copy=True),
            }
        self.updates = count.updates
