"""How large activations and updates are: what a coordinate check looks at (Yang et al., arXiv
2203.03466, appendix D.1).

    forward passes of a step ─ hooks ─▶ mean |x| of qkv, what each branch adds, the stream, logits
    update of the step ───────────────▶ mean |change| of each kind of tensor

After t updates, the passes of step t + 1 see a batch that no update was made of. So nothing is
computed twice, and a training has to make one step more than the updates asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from artifacts.errors import UserError
from trainer.model import Model
from trainer.model.decoder import Layer
from trainer.probes.pieces import pieces
from trainer.probes.probe import Probe, WatchedStep

AFTER = (0, 1, 3, 10)

Sizes = Callable[[Any], Iterator[Tensor]]
"""From a module's output to what is measured of it."""


class Means:
    """Means of absolute values by name over any number of tensors; sums are fp64."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, values: Tensor) -> None:
        """Count every element."""
        total = values.abs().sum(dtype=torch.float64)
        self._sums[name] = self._sums[name] + total if name in self._sums else total
        self._counts[name] = self._counts.get(name, 0) + values.numel()

    def read(self) -> dict[str, float]:
        """The means; waits for the device."""
        return {name: float(total) / self._counts[name] for name, total in self._sums.items()}


class Coordinates(Probe):
    """A line for each number of updates in ``after``: ``updates`` made, ``activations`` by name
    after them, ``changes`` by kind of tensor (embedding, head, gain, q, k, v, out, gate, up, down)
    of the update that follows. All are means of absolute values.

    Activations are ``layers.N.qkv``, ``layers.N.attention`` and ``layers.N.feed_forward`` (what is
    added to the stream, multiplier included), ``layers.N.stream`` after both, and ``logits``. A
    layer that is used again counts each use; one that stands at several places has a name for each.
    Vocabulary that only pads is left out.
    """

    def __init__(self, after: Sequence[int] = AFTER, name: str = "coordinates") -> None:
        """Raises: UserError for a number of updates below 0, or none at all."""
        if not after or any(type(updates) is not int or updates < 0 for updates in after):
            raise UserError(
                "coordinates are measured after numbers of updates",
                parameter="after",
                found=after,
                fix="give whole numbers of at least 0, such as 0, 1, 3, 10",
            )
        self.after, self._name = frozenset(after), name
        self._activations = Means()
        self._weights: Mapping[str, Tensor] = {}

    @property
    def name(self) -> str:
        return self._name

    def _measured(self, step: WatchedStep) -> bool:
        return step.step - 1 in self.after

    def watching(self, step: WatchedStep) -> AbstractContextManager[None]:
        if not self._measured(step):
            return nullcontext()
        self._activations = Means()
        return measuring(step.model, self._activations)

    def gradient(self, step: WatchedStep) -> None:
        if self._measured(step):
            self._weights = {name: value.clone() for name, value in step.weights().items()}

    def line(self, step: WatchedStep) -> dict[str, Any] | None:
        if not self._measured(step):
            return None
        before, self._weights = self._weights, {}
        changes, after = Means(), step.weights()
        for piece in pieces(step.model):
            changes.add(piece.kind, piece.of(after).double() - piece.of(before).double())
        return {
            "updates": step.step - 1,
            "activations": self._activations.read(),
            "changes": changes.read(),
        }


@contextmanager
def measuring(model: Model, means: Means) -> Iterator[None]:
    """Count the activations of every forward pass inside; hooks are gone afterwards."""
    handles = list(_hooks(model, means))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hooks(model: Model, means: Means) -> Iterator[RemovableHandle]:
    """Hooks on the modules of the layers, one for each module however often it is used."""
    places: dict[nn.Module, tuple[list[str], Sizes]] = {}
    module: nn.Module
    for number, layer in enumerate(cast(Iterable[Layer], model.layers)):
        multiplier = layer.residual_multiplier
        for module, name, sizes in (
            (layer.attention.qkv, "qkv", _whole),
            (layer.attention, "attention", _scaled(multiplier)),
            (layer.feed_forward, "feed_forward", _scaled(multiplier)),
            (layer, "stream", _joined(multiplier)),
        ):
            places.setdefault(module, ([], sizes))[0].append(f"layers.{number}.{name}")
    places[model] = (["logits"], _logits(model))
    for module, (names, sizes) in places.items():
        yield module.register_forward_hook(_counting(means, names, sizes))


def _counting(
    means: Means, names: Sequence[str], sizes: Sizes
) -> Callable[[nn.Module, Any, Any], None]:
    """A hook that counts a module's outputs, under its names in turn where it has several."""
    calls = 0

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal calls
        with torch.no_grad():
            for values in sizes(output):
                means.add(names[calls % len(names)], values)
        calls += 1

    return hook


def _whole(output: Tensor) -> Iterator[Tensor]:
    yield output


def _scaled(multiplier: float) -> Sizes:
    def sizes(branch: Tensor) -> Iterator[Tensor]:
        yield branch.float() * multiplier

    return sizes


def _joined(multiplier: float) -> Sizes:
    def sizes(output: tuple[Tensor, Tensor]) -> Iterator[Tensor]:
        stream, branch = output
        yield stream.float() + branch.float() * multiplier

    return sizes


def _logits(model: Model) -> Sizes:
    def sizes(hidden: Tensor) -> Iterator[Tensor]:
        for row in hidden:  # of a whole micro-batch they may not fit
            yield model.logits(row)

    return sizes
