"""A loss on held-out documents, and the difference of two: each with what it was measured on and
its interval.

A difference has one sign everywhere: the one named first minus the one it is compared with, so
below zero the first one is better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from artifacts.statistics.weighted_means import half_width

Group = tuple[float, float]  # target tokens, nats per target token


@dataclass(frozen=True)
class HeldOutLoss:
    """Loss of one source's held-out documents: nats per target token, and bits per byte.

    ``tokens``: targets it was measured on. ``half_width``: half of its 95 % interval, None where it
    is not known. ``groups``: the losses of groups of documents.
    """

    loss: float
    bits_per_byte: float | None
    tokens: float | None = None
    half_width: float | None = None
    groups: tuple[Group, ...] = ()

    @classmethod
    def of(cls, measured: Mapping[str, Any]) -> HeldOutLoss:
        """From a source of a line of ``metrics/validation.jsonl``."""
        groups = tuple((tokens, loss) for tokens, loss in measured.get("groups", ()) if tokens)
        return cls(
            measured["loss"],
            measured.get("bits_per_byte"),
            measured.get("tokens"),
            _half_width(groups),
            groups,
        )

    def to_json(self) -> dict[str, float | None]:
        """Its figures, without those of the groups."""
        return {
            "loss": self.loss,
            "bits_per_byte": self.bits_per_byte,
            "tokens": self.tokens,
            "half_width": self.half_width,
        }

    def minus(self, base: HeldOutLoss) -> HeldOutLoss:
        """The difference of this one to ``base``. Where both were measured on the same groups its
        interval is that of the differences within them, which is narrower than those of the two.
        """
        bits = (
            None
            if self.bits_per_byte is None or base.bits_per_byte is None
            else self.bits_per_byte - base.bits_per_byte
        )
        groups: tuple[Group, ...] = ()
        if [tokens for tokens, _ in self.groups] == [tokens for tokens, _ in base.groups]:
            groups = tuple(
                (tokens, loss - before)
                for (tokens, loss), (_, before) in zip(self.groups, base.groups, strict=True)
            )
        tokens = self.tokens if self.tokens == base.tokens else None
        return HeldOutLoss(self.loss - base.loss, bits, tokens, _half_width(groups), groups)


def _half_width(groups: tuple[Group, ...]) -> float | None:
    return half_width([tokens for tokens, _ in groups], [loss for _, loss in groups])
