"""How well a model predicts texts: nats and bytes of each, whatever their lengths.

    for loss in text_losses(model, tokenizer, ["a text", "another"], window=256):
        loss.bits_per_byte

A text begins a document: BOS first, which is predicted by nothing. EOS is left out, so what is
summed is the text alone and compares between tokenizers. A text longer than ``window`` tokens is
read in windows that overlap by half: every token is predicted once, from at least half a window
before it, where there is so much.

Shapes: B windows at once, T tokens of the longest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from artifacts.errors import UserError
from artifacts.statistics.weighted_means import half_width
from tokenizer.encode import Tokenizer
from trainer.evaluation.window import check_window
from trainer.model import Model
from trainer.objectives.losses import NOTHING, Loss

TOGETHER = 16_384
"""Tokens of windows that are read at once."""


@dataclass(frozen=True)
class TextLosses:
    """The losses of texts: in all, and half of the 95 % interval of bits per byte over texts, None
    where there are fewer than two.
    """

    texts: int
    whole: Loss
    half_width: float | None

    @classmethod
    def of(cls, losses: Iterable[Loss]) -> TextLosses:
        """Texts without a byte count for nothing."""
        each = [loss for loss in losses if loss.bytes]
        whole = sum(each, NOTHING)
        sizes, bits = [one.bytes for one in each], [one.bits_per_byte for one in each]
        return cls(len(each), whole, half_width(sizes, bits))


@dataclass(frozen=True)
class _Window:
    """Tokens of a text, the last ``counted`` of which are predicted here."""

    text: int
    ids: Sequence[int]
    counted: int


def text_losses(
    model: Model, tokenizer: Tokenizer, texts: pa.Array | Sequence[str], window: int
) -> list[Loss]:
    """The loss of each text, in order; ``window`` tokens are seen at once.

    Raises: UserError for a window of less than two tokens, and for losses that are not finite.
    """
    check_window(window)
    column = pa.array(texts, pa.large_string()) if not isinstance(texts, pa.Array) else texts
    sizes = [len(text.encode()) for text in column.to_pylist()]
    windows = [
        piece
        for number, ids in enumerate(tokenizer.encode(column).to_pylist())
        for piece in _windows(number, [tokenizer.bos_id, *ids], window)
    ]
    nats, tokens = np.zeros(len(sizes)), np.zeros(len(sizes), np.int64)
    for group in _groups(windows):
        for piece, found in zip(group, _predicted(model, group), strict=True):
            nats[piece.text] += found
            tokens[piece.text] += piece.counted
    if not np.isfinite(nats).all():
        raise UserError(
            "the model's losses are not finite",
            found=f"in {int((~np.isfinite(nats)).sum())} of {len(nats)} texts",
            fix="take an earlier checkpoint",
        )
    return [
        Loss(float(one), float(count), float(size))
        for one, count, size in zip(nats, tokens, sizes, strict=True)
    ]


def _windows(text: int, ids: Sequence[int], window: int) -> Iterator[_Window]:
    """A text's windows of ``window`` + 1 ids, inputs and targets: the first whole, the others half
    a window further each.
    """
    done = 1  # BOS is not predicted
    while done < len(ids):
        begin = max(0, done - 1 - (window // 2 if done > 1 else 0))
        end = min(len(ids), begin + window + 1)
        yield _Window(text, ids[begin:end], end - done)
        done = end


def _groups(windows: Sequence[_Window]) -> Iterator[list[_Window]]:
    """Windows of like length together, up to so many tokens."""
    ordered = sorted(windows, key=lambda piece: len(piece.ids))
    group: list[_Window] = []
    for piece in ordered:
        if group and len(piece.ids) * (len(group) + 1) > TOGETHER:
            yield group
            group = []
        group.append(piece)
    if group:
        yield group


@torch.inference_mode()
def _predicted(model: Model, group: Sequence[_Window]) -> NDArray[np.float64]:
    """Nats (B,) of what each window predicts."""
    device = next(model.parameters()).device
    longest = max(len(piece.ids) for piece in group) - 1
    inputs, targets = (np.zeros((len(group), longest), np.int64) for _ in range(2))
    counted = np.zeros((len(group), longest), np.float32)
    for row, piece in enumerate(group):
        length = len(piece.ids) - 1
        inputs[row, :length], targets[row, :length] = piece.ids[:-1], piece.ids[1:]
        counted[row, length - piece.counted : length] = 1.0
    # padding repeats a row's last position: dynamic NTK takes a row to be as long as those say
    last = torch.tensor([[len(piece.ids) - 2] for piece in group], device=device)
    positions = torch.minimum(torch.arange(longest, device=device), last)
    hidden = model(torch.from_numpy(inputs).to(device), positions)
    weights = torch.from_numpy(counted).to(device)
    nll = model.loss(hidden, torch.from_numpy(targets).to(device), weights)[2]
    sums: NDArray[np.float64] = torch.where(weights > 0, nll.double(), 0.0).sum(1).cpu().numpy()
    return sums
