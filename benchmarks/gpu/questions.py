"""What was assumed and never measured: answers from the device.

    python -m benchmarks.gpu.questions                         # on a GPU
    python -m benchmarks.gpu.questions --device cpu --tiny     # that it runs

Rates of the kernels behind attention with heads of 64, plain and packed; what this torch's
``varlen_attn`` takes; whether adding the branch in the product's own epilogue beats the fused norm;
8-bit products against bf16 ones; the largest bandwidth and rate; whether NVIDIA's compiler is
there. Times of others' kernels at these shapes, torch's fused AdamW among them, are in
``kernels.json``.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.gpu import timing
from benchmarks.gpu.operations import EPS, Draw, attention_of_bounds, packed_documents
from benchmarks.gpu.session import Record, Session, begin
from benchmarks.gpu.shapes import Shape, measured
from trainer.costs import kernel_costs as costs
from trainer.devices.determinism import deterministic
from trainer.kernels.attention import _varlen_parameters
from trainer.kernels.float8 import float8_linear
from trainer.kernels.nvrtc import NoCompilerError, library
from trainer.kernels.residual_norm import residual_norm
from trainer.kernels.rms_norm import rms_norm

BACKENDS = ("CUDNN_ATTENTION", "FLASH_ATTENTION", "EFFICIENT_ATTENTION")
Found = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    session = begin(__doc__, arguments=arguments)
    record = Record(session, "questions")
    shapes = measured(session.tiny)
    for name, ask in QUESTIONS.items():
        record[name] = attempt(session, lambda a=ask: a(session, shapes))
        print(f"{name}: {record[name]}", flush=True)
    record.done()
    return 0


def attempt(session: Session, ask: Callable[[], Any]) -> Any:
    """The answer, or what stood in its way."""
    try:
        return ask()
    except Exception as error:
        return {"failed": repr(error), "trace": traceback.format_exc(limit=-3)}
    finally:
        if session.cuda:
            torch.cuda.empty_cache()


def rates(session: Session, _: list[Shape]) -> Found:
    found = {
        "copy_bytes_per_second": timing.copy_bandwidth(session),
        "bf16_flops_per_second": timing.product_rate(session),
    }
    return {**found, "fp32_flops_per_second": timing.product_rate(session, torch.float32)}


def attention_backends(session: Session, shapes: list[Shape]) -> Found:
    """Operations per second of each backend, causal, forward and backward; what it says where it
    cannot.
    """
    found: Found = {}
    for shape in shapes:
        for name in BACKENDS:
            found[f"{name}, {shape.name}"] = attempt(
                session, lambda n=name, s=shape: _backend_rates(session, s, getattr(SDPBackend, n))
            )
        with deterministic():  # in which training runs, and which excludes cuDNN
            flash = attempt(
                session, lambda s=shape: _backend_rates(session, s, SDPBackend.FLASH_ATTENTION)
            )
        found[f"FLASH_ATTENTION, deterministic, {shape.name}"] = flash
    return found


def _backend_rates(session: Session, shape: Shape, backend: SDPBackend) -> Found:
    q, k, v = _heads(session, shape)
    scale, grouped = shape.config.attention_multiplier, shape.config.heads != shape.config.kv_heads

    def run() -> Tensor:
        with sdpa_kernel([backend]):
            return F.scaled_dot_product_attention(
                q, k, v, is_causal=True, scale=scale, enable_gqa=grouped
            )

    return _attention_rates(session, shape, run, (q, k, v))


def packed_attention(session: Session, shapes: list[Shape]) -> Found:
    """Packed documents by ``varlen_attn``: rates over the operations of whole windows, so that what
    is skipped counts as speed.
    """
    found: Found = {
        "signature": sorted(_varlen_parameters()),
        "takes enable_gqa": "enable_gqa" in _varlen_parameters(),
    }
    for shape in shapes:
        q, k, v = _heads(session, shape)
        for name, documents in {
            "plain": None,
            "sixteen documents per window": packed_documents(shape),
        }.items():
            ours, scale = attention_of_bounds(), shape.config.attention_multiplier
            run = lambda o=ours, d=documents, qkv=(q, k, v), s=scale: o(*qkv, s, d)  # noqa: E731
            found[f"{name}, {shape.name}"] = attempt(
                session, lambda r=run, s=shape, qkv=(q, k, v): _attention_rates(session, s, r, qkv)
            )
    return found


def _heads(session: Session, shape: Shape) -> tuple[Tensor, Tensor, Tensor]:
    draw, config = Draw(session.device, torch.bfloat16), shape.config
    sizes = [
        (shape.rows, heads, shape.window, config.head_dim)
        for heads in (config.heads, config.kv_heads, config.kv_heads)
    ]
    q, k, v = (draw(*size).requires_grad_() for size in sizes)
    return q, k, v


def _attention_rates(
    session: Session, shape: Shape, run: Callable[[], Tensor], leaves: tuple[Tensor, ...]
) -> Found:
    made = run()
    above = torch.randn_like(made)
    runs = {
        "forward": run,
        "backward": lambda: torch.autograd.grad(made, leaves, above, retain_graph=True),
    }
    times = timing.interleaved(session, runs)
    config = shape.config
    sizes = (shape.tokens, shape.window, config.heads, config.kv_heads, config.head_dim)
    work = {
        "forward": costs.attention(*sizes).flops,
        "backward": costs.attention_backward(*sizes).flops,
    }
    return {
        part: {
            "microseconds": time["median"],
            "flops_per_second": work[part] / time["median"] * 1e6,
        }
        for part, time in times.items()
    }


def branch_in_the_product(session: Session, shapes: list[Shape]) -> Found:
    """Attention's output product, its branch joined to the stream, the norm: by ``addmm(alpha)``
    and RMSNorm, or by the fused kernel.
    """
    found: Found = {}
    for shape in shapes:
        draw, config = Draw(session.device, torch.bfloat16), shape.config
        mixed, stream = (
            draw(shape.tokens, config.heads * config.head_dim),
            draw(shape.tokens, config.width),
        )
        out, gain, alpha = (
            draw(config.width, mixed.shape[1], scale=0.02),
            draw(config.width),
            config.residual_multiplier,
        )
        runs: dict[str, Callable[[], Any]] = {
            "addmm, then RMSNorm": lambda s=stream, m=mixed, o=out, g=gain, a=alpha: rms_norm(
                torch.addmm(s, m, o.T, alpha=a), g, EPS
            ),
            "product, then residual RMSNorm": lambda s=stream, m=mixed, o=out, g=gain, a=alpha: (
                residual_norm(m @ o.T, s, g, a, EPS)
            ),
        }
        found[shape.name] = timing.interleaved(session, runs)
    return found


def eight_bits(session: Session, shapes: list[Shape]) -> Found:
    """Products of a layer's widest matrix forward, in bf16 and in 8 bits with rounding."""
    found: Found = {}
    for shape in shapes:
        draw, config = Draw(session.device, torch.bfloat16), shape.config
        x, weight = draw(shape.tokens, config.width), draw(2 * config.ff, config.width, scale=0.02)
        runs: dict[str, Callable[[], Any]] = {
            "bf16": partial(F.linear, x, weight),
            "float8": partial(float8_linear, x, weight),
        }
        found[shape.name] = timing.interleaved(session, runs)
    return found


def compilers(session: Session, _: list[Shape]) -> Found:
    """Whether CUDA C++ can be compiled at run time, by the library itself and by torch's private
    function.
    """
    try:
        nvrtc = f"there: {library()._name}"
    except NoCompilerError as error:
        nvrtc = f"not there: {error}"
    return {"nvrtc": nvrtc, "torch.cuda._compile_kernel": hasattr(torch.cuda, "_compile_kernel")}


QUESTIONS: dict[str, Callable[[Session, list[Shape]], Any]] = {
    "rates": rates,
    "attention backends": attention_backends,
    "packed attention": packed_attention,
    "branch in the product": branch_in_the_product,
    "8-bit products": eight_bits,
    "compilers": compilers,
}

if __name__ == "__main__":
    raise SystemExit(main())
