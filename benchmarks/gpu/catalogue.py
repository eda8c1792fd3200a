"""The checks of a GPU: what each shows, its target, and how its figure is read from a result.

A figure is None where the result does not hold it, so that nothing is said to be measured that was
not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Result = dict[str, Any]


@dataclass(frozen=True)
class Check:
    """A line of the table: ``file`` without suffix, and ``figure`` of the result, None where the
    result does not hold it.
    """

    name: str
    shows: str
    target: str
    file: str
    figure: Callable[[Result], str | None]


def verdicts(pattern: str) -> Callable[[Result], str | None]:
    """How many of the checks whose names match passed, and which did not."""

    def figure(result: Result) -> str | None:
        found = {
            name: one
            for name, one in result.items()
            if isinstance(one, dict) and "ok" in one and re.search(pattern, name)
        }
        run = {name: one for name, one in found.items() if not one.get("skipped")}
        failed = [name for name, one in run.items() if not one["ok"]]
        return (
            f"{len(run) - len(failed)} of {len(run)}"
            + (f"; failed: {'; '.join(failed)}" if failed else "")
            if run
            else None
        )

    return figure


def floors(name: str, part: str) -> Callable[[Result], str | None]:
    """Share of the floor at both shapes."""

    def figure(result: Result) -> str | None:
        shares = [
            f"{one[part]['share_of_floor']['ours']:.0%} ({shape})"
            for shape in ("2.4B", "1.2B")
            if "ours"
            in (one := result.get("operations", {}).get(f"{name}, {shape}", {}))
            .get(part, {})
            .get("share_of_floor", {})
        ]
        return ", ".join(shares) or None

    return figure


def speed(result: Result) -> str | None:
    """The faster of eager and compiled."""
    found = [
        (kind, result[kind]) for kind in ("eager", "compiled") if "mfu" in result.get(kind, {})
    ]
    if not found:
        return None
    kind, best = max(found, key=lambda one: one[1]["tokens_per_second"])
    return (
        f"{best['tokens_per_second']:,.0f} tokens/s, {best['mfu']['causal']:.1%} "
        f"({best['mfu']['palm']:.1%} as PaLM counts), {kind}"
    )


def parity(precision: str) -> Callable[[Result], str | None]:
    def figure(result: Result) -> str | None:
        found = result.get("difference", {}).get(precision)
        return f"{found['mean']:+.4f} nats (largest {found['largest']:.4f})" if found else None

    return figure


def answer(name: str) -> Callable[[Result], str | None]:
    def figure(result: Result) -> str | None:
        return (
            None
            if name not in result or "failed" in result[name]
            else f"`results/questions.json`, {name}"
        )

    return figure


RIGHT = (
    (
        "numbers",
        "every operation and its gradients against torch in fp64",
        "at most 3 times torch's own error",
        r"(bf16|fp32)$",
    ),
    (
        "hard losses",
        "a sure softmax, a large common offset, ignored targets, weights of 0, padding",
        "the same",
        "hard:",
    ),
    ("bits", "the same bits twice", "all", "same bits"),
    ("compiled", "compiled whole against eager, to the bit", "all", "compiled$"),
    (
        "no waiting",
        "no wait for the device in a forward or a backward pass, or a training step",
        "all",
        "waits for nothing",
    ),
    ("long tensors", "more than 2^31 elements", "all", "elements"),
    ("AdamW", "five updates against fp64, and the same bits twice", "as good as torch", "^AdamW"),
)
FAST = (
    ("rms_norm", "forward", "RMSNorm", "90% of the floor"),
    ("rms_norm", "backward", "its backward", "80%"),
    ("residual_norm", "forward", "a scaled branch joins the stream, the sum is normed", "90%"),
    ("residual_norm", "backward", "its backward", "80%"),
    ("rotated_qkv", "forward", "rotary positions in place", "90%"),
    ("rotated_qkv", "backward", "its backward, packing the gradient", "80%"),
    ("swiglu", "forward", "SwiGLU on a packed product", "90%"),
    ("swiglu", "backward", "its backward", "80%"),
    ("embedding", "forward", "rows of the table by token, scaled", "90%"),
    ("token_gradients", "in place", "the embedding's gradient added in order", "80%"),
    ("cross_entropy_rows", "in place", "logits turned into their gradient", "90%"),
    ("linear_cross_entropy", "forward and backward", "the head's loss, rows by Triton", "86%"),
    (
        "linear_cross_entropy, CUDA C++ rows",
        "forward and backward",
        "the same, rows in CUDA C++",
        "faster than Triton's, or it goes",
    ),
    ("adamw", "in place", "the update with bf16 copies", "90%"),
    ("gradient_norm", "in place", "the norm of all gradients", "90%"),
)
ASKED = (
    ("rates", "copy bandwidth and rate of products on random data", "known"),
    (
        "attention backends",
        "cuDNN, flash and efficient attention with heads of 64",
        "known; an own kernel only for 15% to gain",
    ),
    (
        "packed attention",
        "the signature of `varlen_attn` here, its rate on packed documents",
        "known",
    ),
    ("branch in the product", "`addmm(alpha)` and RMSNorm against the fused norm", "known"),
    ("8-bit products", "a product in 8 bits, rounding included, against bf16", "known"),
    ("compilers", "whether CUDA C++ can be compiled at run time", "known"),
)
CHECKS = (
    *(
        Check(name, shows, target, "check", verdicts(pattern))
        for name, shows, target, pattern in RIGHT
    ),
    *(
        Check(f"{name}: {part}", shows, target, "kernels", floors(name, part))
        for name, part, shows, target in FAST
    ),
    Check(
        "step of the 2.4B",
        "tokens/s at windows of 4,096, share of the bf16 peak",
        "57% causal: 30,300 tokens/s",
        "train_2.4B",
        speed,
    ),
    Check("step of the 1.2B", "the same", "57% causal: 53,300 tokens/s", "train_1.2B", speed),
    Check(
        "bf16 learns like fp32",
        "200 steps of a small model, same seeds and batches",
        "within 0.01 nats",
        "parity",
        parity("bf16"),
    ),
    Check(
        "8-bit floats learn like fp32", "the same", "within 0.02 nats", "parity", parity("float8")
    ),
    *(Check(name, shows, target, "questions", answer(name)) for name, shows, target in ASKED),
)
