"""MiniCPM, its loss, AdamW and the WSD schedule once more, as plainly as they can be said, from the
paper's facts alone.

Nothing here comes from the package under test, and nothing is fast: every matrix apart, one
document at a time, rotary positions as complex numbers, softmax written out, AdamW by its formulas.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class PlainShape:
    """A model's shape and the constants of the released configs."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    inner: int
    head: int = 64
    scale_emb: float = 12.0
    scale_depth: float = 1.4
    base: int = 256
    init_std: float = 0.1
    theta: float = 10000.0
    eps: float = 1e-5

    @property
    def m(self) -> float:
        return self.width / self.base


def plain_weights(shape: PlainShape, seed: int) -> dict[str, Tensor]:
    """Starting weights by name; matrices as (outputs, inputs)."""
    source = torch.Generator().manual_seed(seed)

    def normal(std: float, rows: int, columns: int) -> Tensor:
        return (torch.randn(rows, columns, generator=source) * std).requires_grad_()

    hidden = shape.init_std / math.sqrt(shape.m)
    queries, keys = shape.heads * shape.head, shape.kv_heads * shape.head
    weights = {"embedding": normal(shape.init_std, shape.vocabulary, shape.width)}
    for layer in range(shape.layers):
        weights[f"{layer}.norm1"] = torch.ones(shape.width, requires_grad=True)
        weights[f"{layer}.q"] = normal(hidden, queries, shape.width)
        weights[f"{layer}.k"] = normal(hidden, keys, shape.width)
        weights[f"{layer}.v"] = normal(hidden, keys, shape.width)
        weights[f"{layer}.o"] = normal(hidden, shape.width, queries)
        weights[f"{layer}.norm2"] = torch.ones(shape.width, requires_grad=True)
        weights[f"{layer}.gate"] = normal(hidden, shape.inner, shape.width)
        weights[f"{layer}.up"] = normal(hidden, shape.inner, shape.width)
        weights[f"{layer}.down"] = normal(hidden, shape.width, shape.inner)
    weights["norm"] = torch.ones(shape.width, requires_grad=True)
    return weights


def plain_logits(shape: PlainShape, weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """Scores (T, V) of one document's tokens (T,), alone in the world."""

    def norm(x: Tensor, gain: Tensor) -> Tensor:
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + shape.eps) * gain

    branch = shape.scale_depth / math.sqrt(shape.layers)
    x = weights["embedding"][tokens] * shape.scale_emb
    for layer in range(shape.layers):
        own = {
            name.split(".")[1]: tensor
            for name, tensor in weights.items()
            if name.startswith(f"{layer}.")
        }
        x = x + branch * _attention(shape, own, norm(x, own["norm1"]))
        inner = norm(x, own["norm2"])
        gate = inner @ own["gate"].T
        x = x + branch * ((gate / (1 + torch.exp(-gate)) * (inner @ own["up"].T)) @ own["down"].T)
    return norm(x, weights["norm"]) / shape.m @ weights["embedding"].T


def _attention(shape: PlainShape, own: dict[str, Tensor], x: Tensor) -> Tensor:
    length, group = len(x), shape.heads // shape.kv_heads
    queries = plain_rotary((x @ own["q"].T).view(length, shape.heads, shape.head), shape.theta)
    keys = plain_rotary((x @ own["k"].T).view(length, shape.kv_heads, shape.head), shape.theta)
    values = (x @ own["v"].T).view(length, shape.kv_heads, shape.head)
    later = torch.ones(length, length).triu(1).bool()
    mixed = []
    for head in range(shape.heads):
        scores = queries[:, head] @ keys[:, head // group].T / math.sqrt(shape.head)
        scores = torch.exp(scores.masked_fill(later, -math.inf) - scores.detach().amax())
        mixed.append(scores / scores.sum(-1, keepdim=True) @ values[:, head // group])
    return torch.cat(mixed, -1) @ own["o"].T


def plain_rotary(x: Tensor, theta: float, first: int = 0) -> Tensor:
    """``x`` (T, heads, K) with channel i and i + K/2 as one complex number, turned by position *
    theta^(-2i/K).
    """
    length, _, size = x.shape
    position = torch.arange(first, first + length, dtype=torch.float32)
    frequency = torch.tensor(
        [theta ** (-2 * i / size) for i in range(size // 2)], dtype=torch.float32
    )
    turn = torch.polar(torch.ones(length, size // 2), position[:, None] * frequency)
    pairs = torch.complex(x[..., : size // 2], x[..., size // 2 :]) * turn[:, None]
    return torch.cat([pairs.real, pairs.imag], -1)


def plain_wsd(step: int, *, peak: float, warmup: int, stable_end: int, half_life: float) -> float:
    """Equation 1 with the exponential decay of section 6.2; ``step`` counts updates from 1."""
    if step < warmup:
        return peak * step / warmup
    return peak if step <= stable_end else peak * math.pow(2.0, -(step - stable_end) / half_life)


@dataclasses.dataclass
class PlainAdamW:
    """AdamW by its formulas, with the learning rates of Table 7."""

    shape: PlainShape
    weights: dict[str, Tensor]
    decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8

    def __post_init__(self) -> None:
        self.updates = 0
        self.first = {name: torch.zeros_like(tensor) for name, tensor in self.weights.items()}
        self.second = {name: torch.zeros_like(tensor) for name, tensor in self.weights.items()}

    def step(self, rate: float, clip: float) -> float:
        """Clip to a joint norm, update every tensor, forget the gradients; returns the norm
        before.
        """
        self.updates += 1
        gradients = {name: tensor.grad for name, tensor in self.weights.items()}
        norm = math.sqrt(
            sum(float((gradient.double() ** 2).sum()) for gradient in gradients.values())
        )
        with torch.no_grad():
            for name, tensor in self.weights.items():
                gradient = gradients[name] * min(1.0, clip / norm)
                hidden = tensor.ndim == 2 and name != "embedding"
                own_rate = rate / self.shape.m if hidden else rate
                tensor *= 1 - own_rate * (self.decay if tensor.ndim == 2 else 0.0)
                self.first[name] = self.beta1 * self.first[name] + (1 - self.beta1) * gradient
                self.second[name] = self.beta2 * self.second[name] + (1 - self.beta2) * gradient**2
                mean = self.first[name] / (1 - self.beta1**self.updates)
                spread = self.second[name] / (1 - self.beta2**self.updates)
                tensor -= own_rate * mean / (spread.sqrt() + self.eps)
                tensor.grad = None
        return norm


def plain_loss(
    shape: PlainShape, weights: dict[str, Tensor], documents: list[tuple[Tensor, Tensor, Tensor]]
) -> Tensor:
    """Mean nats per weighted token over documents of (tokens, targets, loss weights), each run
    alone.
    """
    total, count = torch.zeros(()), torch.zeros(())
    for tokens, targets, importance in documents:
        scores = plain_logits(shape, weights, tokens)
        nll = torch.logsumexp(scores, -1) - scores[torch.arange(len(targets)), targets]
        total, count = total + (nll * importance).sum(), count + importance.sum()
    return total / count
