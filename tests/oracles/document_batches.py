"""Windows of several short documents, with a pattern a model can learn."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class DocumentBatch:
    """What a model is fed, and the spans (row, start, stop) of the documents inside."""

    tokens: Tensor
    targets: Tensor
    weights: Tensor
    positions: Tensor
    documents: Tensor
    spans: list[tuple[int, int, int]]

    def alone(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """(tokens, targets, weights) of each document."""
        return [
            (self.tokens[r, a:b], self.targets[r, a:b], self.weights[r, a:b])
            for r, a, b in self.spans
        ]


def document_batch(
    vocabulary: int, rows: int, length: int, seed: int, mean: int = 12
) -> DocumentBatch:
    """Random windows: token n + 1 follows from token n in three cases of four; a document's last
    target has no weight.
    """
    source = torch.Generator().manual_seed(seed)
    stream = torch.randint(vocabulary, (rows, length + 1), generator=source)
    followed = torch.rand(rows, length, generator=source) < 0.75
    for column in range(length):
        stream[:, column + 1] = torch.where(
            followed[:, column], (stream[:, column] * 7 + 3) % vocabulary, stream[:, column + 1]
        )
    starts = torch.rand(rows, length, generator=source) < 1 / mean
    starts[:, 0] = True
    documents = starts.cumsum(1)
    weights = torch.ones(rows, length)
    weights[:, :-1][starts[:, 1:]] = 0.0
    positions, spans = torch.zeros(rows, length, dtype=torch.int64), []
    for row in range(rows):
        edges = [*starts[row].nonzero()[:, 0].tolist(), length]
        for first, last in zip(edges, edges[1:], strict=False):
            positions[row, first:last] = torch.arange(last - first)
            spans.append((row, first, last))
    return DocumentBatch(
        stream[:, :-1].contiguous(),
        stream[:, 1:].contiguous(),
        weights,
        positions,
        documents.int(),
        spans,
    )
