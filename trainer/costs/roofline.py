"""Where a training step's time must go: each kernel's floor on a device, their sum, and the tokens
per second it allows.

    for row in roofline(preset("2.4B"), DEVICES["H200"], tokens=16_384, sequence_length=4096).rows:
        print(row.name, row.calls, row.cost.bytes, row.cost.flops, row.floor_us)

A floor is the larger of bytes over copy bandwidth and operations over the rate that products of
that kind reach; nothing is taken to overlap. A step that beats the sum found a way to do less; one
far above it shows what to look at first. Costs come from :mod:`trainer.costs.kernel_costs`.

The share of a device's peak that a speed means (MFU) is told by both conventions, over the bf16
peak without sparsity: operations that count attention as the causal half it computes, and as PaLM
does, whole (:mod:`trainer.costs.compute_costs`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal

from artifacts.errors import UserError
from trainer.costs import kernel_costs as costs
from trainer.costs.compute_costs import exact_flops_per_token, palm_flops_per_token
from trainer.costs.device_rates import Device, Precision
from trainer.costs.kernel_costs import BF16, FP32, Cost
from trainer.shapes.config import ModelConfig
from trainer.shapes.parameter_counts import count_parameters, matrix_parameters


@dataclasses.dataclass(frozen=True)
class Row:
    """One kind of call: how often in an optimizer step, what each costs, and the rate its products
    run at (0: it has none).
    """

    name: str
    part: Literal["products", "attention", "element by element", "loss", "optimizer"]
    calls: int
    cost: Cost
    rate: float
    copy: float

    @property
    def bound(self) -> str:
        """Which floor is the higher: ``memory`` or ``compute``."""
        return (
            "compute"
            if self.rate and self.cost.flops / self.rate > self.cost.bytes / self.copy
            else "memory"
        )

    @property
    def floor_us(self) -> float:
        """Microseconds of a call, at least."""
        return 1e6 * (
            self.cost.flops / self.rate if self.bound == "compute" else self.cost.bytes / self.copy
        )

    @property
    def total_us(self) -> float:
        """Microseconds of all calls of a step."""
        return self.calls * self.floor_us


@dataclasses.dataclass(frozen=True)
class Roofline:
    """All rows of an optimizer step of ``tokens`` in ``micro_steps`` micro-batches, and what their
    sum allows.
    """

    device: Device
    precision: Precision
    tokens: int
    micro_steps: int
    sequence_length: int
    flops_per_token: int
    palm_flops_per_token: int
    rows: tuple[Row, ...]

    @property
    def seconds(self) -> float:
        """Sum of the floors of a step."""
        return sum(row.total_us for row in self.rows) / 1e6

    @property
    def tokens_per_second(self) -> float:
        """The ceiling."""
        return self.tokens * self.micro_steps / self.seconds

    def mfu(self, tokens_per_second: float) -> float:
        """Share of the peak, attention counted causally."""
        return tokens_per_second * self.flops_per_token / self.device.peak

    def palm_mfu(self, tokens_per_second: float) -> float:
        """Share of the peak, attention counted whole."""
        return tokens_per_second * self.palm_flops_per_token / self.device.peak

    def parts(self) -> dict[str, float]:
        """Seconds by part, in the order of the rows."""
        found: dict[str, float] = {}
        for row in self.rows:
            found[row.part] = found.get(row.part, 0.0) + row.total_us / 1e6
        return found

    def as_json(self) -> dict[str, Any]:
        """Exact figures."""
        ceiling = self.tokens_per_second
        return {
            "device": dataclasses.asdict(self.device),
            "precision": self.precision,
            "tokens_per_micro_step": self.tokens,
            "micro_steps": self.micro_steps,
            "sequence_length": self.sequence_length,
            "rows": [_row_json(row) for row in self.rows],
            "seconds": self.seconds,
            "seconds_by_part": self.parts(),
            "tokens_per_second": ceiling,
            "flops_per_token": {"causal": self.flops_per_token, "palm": self.palm_flops_per_token},
            "mfu": {"causal": self.mfu(ceiling), "palm": self.palm_mfu(ceiling)},
        }


def _row_json(row: Row) -> dict[str, Any]:
    exact = {
        "name": row.name,
        "part": row.part,
        "calls": row.calls,
        "bytes": row.cost.bytes,
        "flops": row.cost.flops,
    }
    return {**exact, "bound": row.bound, "floor_us": row.floor_us, "total_us": row.total_us}


def roofline(
    config: ModelConfig,
    device: Device,
    *,
    tokens: int,
    sequence_length: int,
    micro_steps: int = 1,
    precision: Precision = "bf16",
) -> Roofline:
    """The floors of one optimizer step: ``micro_steps`` forward and backward passes over ``tokens``
    tokens each, in windows of ``sequence_length`` that are one document, then one update.
    Activations are all kept; h of the SwiGLU and the scores of attention are made twice, nothing
    else.

    Raises: UserError for 8-bit floats on a device without them.
    """
    if not device.rate(precision):
        raise UserError(
            f"{device.name} has no products in {precision}",
            parameter="device",
            found=device.name,
            allowed=["H100", "H200"],
        )
    step = _Step(config, device, tokens, min(sequence_length, tokens), micro_steps, precision)
    return Roofline(
        device=device,
        precision=precision,
        tokens=tokens,
        micro_steps=micro_steps,
        sequence_length=sequence_length,
        flops_per_token=exact_flops_per_token(config, sequence_length),
        palm_flops_per_token=palm_flops_per_token(config, sequence_length),
        rows=(*step.layers(), *step.ends(), *step.update()),
    )


@dataclasses.dataclass(frozen=True)
class _Step:
    """Rows of a step, part by part."""

    config: ModelConfig
    device: Device
    tokens: int
    window: int
    micro_steps: int
    precision: Precision

    @property
    def size(self) -> int:
        return FP32 if self.precision == "fp32" else BF16

    @property
    def half(self) -> float:
        """Rate of products that are never in 8 bits: the head's."""
        return self.device.float32 if self.precision == "fp32" else self.device.matmul

    def row(self, name: str, part: Any, calls: int, cost: Cost, rate: float = 0.0) -> Row:
        return Row(
            name,
            part,
            calls * (1 if part == "optimizer" else self.micro_steps),
            cost,
            rate,
            self.device.copy,
        )

    def layers(self) -> Iterator[Row]:
        config, tokens, size = self.config, self.tokens, self.size
        heads = (config.heads, config.kv_heads, config.head_dim)
        layers, small = config.layers, "element by element"
        yield self.row("RMSNorm", small, 1, costs.rms_norm(tokens, config.width, size))
        yield self.row(
            "RMSNorm, backward", small, 1, costs.rms_norm_backward(tokens, config.width, size)
        )
        yield self.row(
            "residual + RMSNorm", small, 2 * layers, costs.residual_norm(tokens, config.width, size)
        )
        yield self.row(
            "residual + RMSNorm, backward",
            small,
            2 * layers,
            costs.residual_norm_backward(tokens, config.width, size),
        )
        yield self.row("RoPE", small, layers, costs.rope(tokens, *heads, size))
        yield self.row("RoPE, backward", small, layers, costs.rope_backward(tokens, *heads, size))
        yield self.row("SwiGLU", small, layers, costs.swiglu(tokens, config.ff, size))
        yield self.row(
            "SwiGLU, backward with h",
            small,
            layers,
            costs.swiglu_backward(tokens, config.ff, size, recompute=True),
        )
        rate = self.device.float32 if self.precision == "fp32" else self.device.attention
        yield self.row(
            "attention",
            "attention",
            layers,
            costs.attention(tokens, self.window, *heads, size),
            rate,
        )
        yield self.row(
            "attention, backward",
            "attention",
            layers,
            costs.attention_backward(tokens, self.window, *heads, size),
            rate,
        )
        for name, inputs, outputs in self.matrices():
            yield from self.linear(name, inputs, outputs)

    def matrices(self) -> list[tuple[str, int, int]]:
        """Name, inputs and outputs of a layer's matrices."""
        config = self.config
        mixed = config.heads * config.head_dim
        return [
            ("qkv", config.width, mixed + 2 * config.kv_heads * config.head_dim),
            ("out", mixed, config.width),
            ("gate and up", config.width, 2 * config.ff),
            ("down", config.ff, config.width),
        ]

    def linear(self, name: str, inputs: int, outputs: int) -> Iterator[Row]:
        layers, rate, shape = (
            self.config.layers,
            self.device.rate(self.precision),
            (self.tokens, inputs, outputs),
        )
        size = 1 if self.precision == "float8" else self.size
        yield self.row(
            f"product {name}",
            "products",
            layers,
            costs.product(*shape, size, result=self.size),
            rate,
        )
        yield self.row(
            f"product {name}, backward",
            "products",
            layers,
            costs.product_backward(*shape, size, result=self.size),
            rate,
        )
        if self.precision == "float8":
            rounding = costs.float8_rounding(*shape)
            yield self.row(f"rounding for {name}", "element by element", layers, rounding)

    def ends(self) -> Iterator[Row]:
        config, tokens, size = self.config, self.tokens, self.size
        yield self.row(
            "embedding", "element by element", 1, costs.embedding(tokens, config.width, size)
        )
        yield self.row(
            "embedding, backward",
            "element by element",
            1,
            costs.embedding_backward(tokens, config.width, size),
        )
        yield self.row(
            "head: three products",
            "loss",
            1,
            costs.head_products(tokens, config.width, config.padded_vocab, size),
            self.half,
        )
        yield self.row(
            "head: cross-entropy rows",
            "loss",
            1,
            costs.cross_entropy_rows(tokens, config.padded_vocab, size),
        )
        yield self.row(
            "head: gradient summed",
            "loss",
            1,
            costs.head_gradient_sums(tokens, config.width, config.padded_vocab),
        )

    def update(self) -> Iterator[Row]:
        parameters, half = count_parameters(self.config).allocated, self.precision != "fp32"
        if half:
            gathered = costs.gradient_sums(
                matrix_parameters(self.config), self.micro_steps, self.size
            )
            yield self.row("gradients gathered in fp32", "optimizer", 1, gathered)
        yield self.row("gradient norm", "optimizer", 1, costs.gradient_norm(parameters))
        yield self.row("AdamW", "optimizer", 1, costs.adamw(parameters, copies=half))
