"""The MiniCPM decoder: pre-norm attention and SwiGLU blocks whose branches join the stream scaled
by depth.

    hidden = scale_emb * embedding[tokens]
    for each layer:
        hidden = hidden + scale_depth/layers^depth_alpha * attention(norm(hidden))
        hidden = hidden + scale_depth/layers^depth_alpha * feed_forward(norm(hidden))
    logits = (norm(hidden) / m) head^T,  m = width / dim_model_base,  head = embedding where tied

(arXiv 2404.06395, Table 7 and section 6.1, where depth_alpha is 1/2.) No biases, RMSNorm, rotary
positions in fp32, grouped-query attention.

    config = preset("tiny", vocab_size=4096)
    model = Model(config)
    init(model, config, seed=1)
    hidden = model(tokens, positions, documents)
    loss_sum, weight_sum, nll = model.loss(hidden, targets, weights)
    (loss_sum / weight_sum).backward()

Text is written with a cache (:mod:`trainer.model.cache`), in which a model reads each token once::

    hidden = model.read(cache, rows, ids)

Shapes: B rows, T tokens, D width, H query heads, G key-value heads, K head_dim, F ff, V vocabulary,
P padded vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from trainer.kernels.attention import attention, document_bounds
from trainer.kernels.embedding import embedding
from trainer.kernels.float8 import float8_linear
from trainer.kernels.linear_cross_entropy import linear_cross_entropy
from trainer.kernels.residual_norm import residual_norm
from trainer.kernels.rms_norm import rms_norm
from trainer.kernels.rope import rotated_qkv
from trainer.kernels.swiglu import swiglu, swiglu_linear
from trainer.model.cache import Cache, LayerReading, Reading
from trainer.model.rotary import rotation
from trainer.shapes.config import ModelConfig


class Matrix(nn.Module):
    """A linear map without bias, ``weight`` (rows, columns), made of named pieces stacked by rows.

    The pieces are the matrices of the paper (q, k, v; gate, up); stacked they are one product
    instead of several. ``float8`` is set by :mod:`trainer.model.float8`.
    """

    def __init__(self, pieces: dict[str, int], columns: int) -> None:
        super().__init__()
        self.pieces = dict(pieces)
        self.float8 = False
        self.weight = nn.Parameter(torch.zeros(sum(pieces.values()), columns))

    def forward(self, x: Tensor) -> Tensor:
        return float8_linear(x, self.weight) if self.float8 else F.linear(x, self.weight)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * gain, over the last axis."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)

    def join(self, branch: Tensor, stream: Tensor, multiplier: float) -> tuple[Tensor, Tensor]:
        """The stream with a scaled branch added, and its norm."""
        return residual_norm(branch, stream, self.weight, multiplier, self.eps)


class Attention(nn.Module):
    """Causal attention inside each document, grouped queries, rotary positions."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        self.scale = config.attention_multiplier
        keys = config.kv_heads * config.head_dim
        self.qkv = Matrix({"q": config.heads * config.head_dim, "k": keys, "v": keys}, config.width)
        self.out = Matrix({"out": config.width}, config.heads * config.head_dim)
        self.q_norm, self.k_norm = (
            RMSNorm(config.head_dim, config.norm_eps) if config.qk_norm else None for _ in "qk"
        )

    def forward(
        self,
        x_BTD: Tensor,
        angles: tuple[Tensor, Tensor],
        mask: Tensor | None,
        past: LayerReading | None = None,
    ) -> Tensor:
        """``past``: what the rows have read, in place of ``mask``."""
        rows, tokens, _ = x_BTD.shape
        qkv = self.qkv(x_BTD).view(rows, tokens, self.heads + 2 * self.kv_heads, self.head_dim)
        if self.q_norm is not None and self.k_norm is not None:
            queries, keys, values = qkv.split([self.heads, self.kv_heads, self.kv_heads], 2)
            normed = self.q_norm(queries.contiguous()), self.k_norm(keys.contiguous())
            qkv = torch.cat([*normed, values], 2)
        parts = rotated_qkv(qkv, *angles, self.heads, self.kv_heads)  # (B, T, heads, K) each
        if past is None:
            q, k, v = (part.transpose(1, 2) for part in parts)
            mixed = attention(q, k, v, self.scale, mask).transpose(1, 2)  # (B, T, H, K)
        else:
            mixed = past.attend(parts[0], qkv[:, :, self.heads :], self.scale)  # turned in place
        out: Tensor = self.out(mixed.reshape(rows, tokens, self.heads * self.head_dim))
        return out


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate x) * up x)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up = Matrix({"gate": config.ff, "up": config.ff}, config.width)
        self.down = Matrix({"down": config.width}, config.ff)

    def forward(self, x_BTD: Tensor) -> Tensor:
        gate_up = self.gate_up(x_BTD)  # (B, T, 2F)
        return (
            self.down(swiglu(gate_up))
            if self.down.float8
            else swiglu_linear(gate_up, self.down.weight)
        )


class Layer(nn.Module):
    """One block: two branches, each normed on its way in and scaled on its way out.

    A branch is added where the stream is normed next, so the feed-forward's is left to whoever
    comes after.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.residual_multiplier = config.residual_multiplier
        self.attention_norm = RMSNorm(config.width, config.norm_eps)
        self.attention = Attention(config)
        self.feed_forward_norm = RMSNorm(config.width, config.norm_eps)
        self.feed_forward = FeedForward(config)

    def forward(
        self,
        stream_BTD: Tensor,
        branch_BTD: Tensor | None,
        angles: tuple[Tensor, Tensor],
        mask: Tensor | None,
        past: LayerReading | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Takes the stream and the branch to add to it, None before the first block; returns both
        anew.
        """
        if branch_BTD is None:
            normed = self.attention_norm(stream_BTD)
        else:
            stream_BTD, normed = self.attention_norm.join(
                branch_BTD, stream_BTD, self.residual_multiplier
            )
        attended = self.attention(normed, angles, mask, past)
        stream_BTD, normed = self.feed_forward_norm.join(
            attended, stream_BTD, self.residual_multiplier
        )
        return stream_BTD, self.feed_forward(normed)


class Model(nn.Module):
    """The decoder of ``config``. Matrices are zero until ``init`` or a checkpoint fills them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.rotary = config.rotary
        self.embedding = nn.Parameter(torch.zeros(config.padded_vocab, config.width))
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.final_norm = RMSNorm(config.width, config.norm_eps)
        self.head = (
            None if config.tied else nn.Parameter(torch.zeros(config.padded_vocab, config.width))
        )

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        documents: Tensor | None = None,
        past: Reading | None = None,
    ) -> Tensor:
        """Hidden states (B, T, D), normed: ready for the head, which divides by m.

        ``tokens`` (B, T) int64 below the vocabulary size; ``positions`` (B, T) int64, starting anew
        with each document; ``documents`` (B, T) the document of each token (attention stays inside
        it), or None for rows of one document each. Leave ``documents`` on the CPU, also where the
        model is on a GPU. ``past``: a pass over a cache, for :meth:`read`.
        """
        mask = document_bounds(documents, tokens.device)
        if past is None:
            angles = rotation(positions, self.config.head_dim, self.rotary)
        else:
            angles = past.angles
        stream_BTD = embedding(tokens, self.embedding, self.config.scale_emb)
        branch_BTD = None
        for number, layer in enumerate(self.layers):
            read = None if past is None else past.layer(number)
            stream_BTD, branch_BTD = layer(stream_BTD, branch_BTD, angles, mask, read)
        assert branch_BTD is not None  # a model has a layer
        return self.final_norm.join(branch_BTD, stream_BTD, self.config.residual_multiplier)[1]

    def read(self, cache: Cache, rows: Sequence[int], ids: Sequence[Sequence[int]]) -> Tensor:
        """Hidden states (B, D) of the last of the ``ids`` that each of ``rows`` reads after what
        the cache has of it.

        The cache is of this model's shape, dtype and device. Raises: ValueError where it has no
        such rows, or one must be read anew (:meth:`~trainer.model.cache.Cache.keeps`).
        """
        past = cache.reading(rows, [len(tokens) for tokens in ids])
        return past.ended(self(past.padded(ids), past.positions, past=past))

    def matrices(self) -> Iterator[tuple[str, Matrix]]:
        """The layers' matrices by path, in order."""
        yield from (
            (path, module) for path, module in self.named_modules() if isinstance(module, Matrix)
        )

    @property
    def head_weight(self) -> Tensor:
        """The head's matrix (P, D): the embedding itself where tied."""
        return self.embedding if self.head is None else self.head

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores (..., V) of ``hidden`` (..., D); the padding of the vocabulary is left out."""
        return (
            F.linear(hidden, self.head_weight[: self.config.vocab_size])
            / self.config.width_multiplier
        )

    def auxiliary_losses(self) -> Mapping[str, Tensor]:
        """Losses by name, scalars with their graph, that the model adds to what is minimised: of
        all forward passes since the last call. A dense decoder adds none.
        """
        return {}

    def loss(
        self, hidden: Tensor, targets: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Sum of weighted negative log-likelihoods in nats (fp32), sum of weights, and the nll of
        each token (B, T).

        ``targets`` (B, T) int64 below the vocabulary size (also where the weight is 0), ``weights``
        (B, T) fp32. Divide the first by the second for the mean; over micro-batches divide each
        first by the sum of all seconds. Only the first carries a gradient. Per-token figures are
        unweighted.
        """
        loss, nll = linear_cross_entropy(
            hidden.flatten(0, 1),
            self.head_weight,
            targets.flatten(),
            weights.flatten().float(),
            self.config.vocab_size,
            logit_scale=1.0 / self.config.width_multiplier,
        )
        return loss, weights.double().sum().float(), nll.view(targets.shape)
