"""A model, its optimizer and one step, built from the trainer's own parts: what is timed and
compared.

Needs torch, numpy and, on a GPU, Triton: no data, no tokenizer, no recipe.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.model import Model, ModelConfig, init, parameter_groups
from trainer.model.float8 import emulate_float8, use_float8
from trainer.optimizer.adamw import AdamW

PEAK, DECAY, CLIP = 0.01, 0.1, 1.0


@dataclass(frozen=True)
class TokenBatch:
    """(B, T) each; ``documents`` lie on the host."""

    tokens: Tensor
    targets: Tensor
    weights: Tensor
    positions: Tensor
    documents: Tensor | None

    def to(self, device: torch.device) -> TokenBatch:
        """The same on ``device``; documents stay on the host."""
        return TokenBatch(
            *(
                part.to(device)
                for part in (self.tokens, self.targets, self.weights, self.positions)
            ),
            self.documents,
        )


def token_batch(
    config: ModelConfig, rows: int, window: int, device: torch.device, seed: int
) -> TokenBatch:
    """Random tokens, each window one document."""
    source = torch.Generator().manual_seed(seed)
    stream = torch.randint(config.vocab_size, (rows, window + 1), generator=source).to(device)
    weights = torch.ones(rows, window, device=device)
    positions = torch.arange(window, device=device).expand(rows, window).contiguous()
    return TokenBatch(
        stream[:, :-1].contiguous(), stream[:, 1:].contiguous(), weights, positions, None
    )


def pattern_batch(
    config: ModelConfig, rows: int, window: int, device: torch.device, seed: int
) -> TokenBatch:
    """Several documents per window; in three cases of four a token follows from the one before:
    something to learn.
    """
    source = torch.Generator().manual_seed(seed)
    stream = torch.randint(config.vocab_size, (rows, window + 1), generator=source)
    followed = torch.rand(rows, window, generator=source) < 0.75
    for column in range(window):
        stream[:, column + 1] = torch.where(
            followed[:, column],
            (stream[:, column] * 7 + 3) % config.vocab_size,
            stream[:, column + 1],
        )
    begins = torch.rand(rows, window, generator=source) < 4 / window
    begins[:, 0] = True
    place = torch.arange(window).expand(rows, window)
    positions = place - torch.where(begins, place, 0).cummax(1).values
    weights = torch.ones(rows, window)
    weights[:, :-1][begins[:, 1:]] = 0.0
    shown = [
        part.contiguous().to(device) for part in (stream[:, :-1], stream[:, 1:], weights, positions)
    ]
    return TokenBatch(*shown, begins.cumsum(1))


@dataclass
class Trainee:
    """A model and its optimizer. ``step`` returns the loss in nats per token, a scalar that lies on
    the device.
    """

    model: Model
    optimizer: AdamW

    @classmethod
    def build(
        cls,
        config: ModelConfig,
        device: torch.device,
        precision: str,
        seed: int,
        *,
        quick: bool = False,
    ) -> Trainee:
        """``precision``: fp32, bf16 or float8 (bf16 outside products on a GPU, emulated in fp32 on
        a CPU).

        ``quick`` starts from normal values drawn on the device, which a speed does not mind.
        """
        with device:
            model = Model(config)
        if quick:
            _fill(model)
        else:
            init(model, config, seed)
        half = precision == "bf16" or (precision == "float8" and device.type == "cuda")
        groups = parameter_groups(model, config, PEAK, DECAY)
        optimizer = AdamW(groups, compute=torch.bfloat16 if half else None)
        if precision == "float8":
            if device.type == "cuda":
                use_float8(model, device)
            else:
                emulate_float8(model)
        return cls(model, optimizer)

    def step(self, batch: TokenBatch, rate: float) -> Tensor:
        hidden = self.model(batch.tokens, batch.positions, batch.documents)
        nats, weights, _ = self.model.loss(hidden, batch.targets, batch.weights)
        loss = nats / weights
        loss.backward()
        self.optimizer.clip(CLIP, loss.detach())
        self.optimizer.step(rate)
        self.optimizer.zero_grad()
        return loss.detach()


@torch.no_grad()
def _fill(model: Model) -> None:
    for name, parameter in model.named_parameters():
        if name.endswith("norm.weight"):
            parameter.fill_(1.0)
        else:
            parameter.normal_(
                std=model.config.init_std
                if name in ("embedding", "head")
                else model.config.hidden_std
            )
