"""Section of the performance page on GPUs: steps of training and kernels, from the results that are
there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.gpu.catalogue import Result
from benchmarks.gpu.make_readme import partly
from benchmarks.page_tables import table

MODELS = ("2.4B", "1.2B")
PARTS = ("forward", "backward", "forward and backward", "in place")


def gpu_section(results: dict[str, Result]) -> Iterator[str]:
    """Everything measured on a GPU; what is not, said."""
    yield from ("## On a GPU", "")
    yield (
        "By `benchmarks/gpu/run.py`. What each check shows, and "
        "its target: [benchmarks/gpu/README.md](../benchmarks/gpu/README.md)."
    )
    steps = {model: results[f"train_{model}"] for model in MODELS if f"train_{model}" in results}
    yield from ("", "### Training steps", "", *(_steps(steps) if steps else ["Not yet measured."]))
    yield from (
        "",
        "### Kernels",
        "",
        *(_kernels(results["kernels"]) if "kernels" in results else ["Not yet measured."]),
    )


def _steps(steps: dict[str, Result]) -> Iterator[str]:
    rows = []
    for model, result in steps.items():
        for kind in ("eager", "compiled"):
            found = result.get(kind, {})
            if "mfu" in found:
                shares = (
                    f"{found['mfu']['causal']:.1%}",
                    f"{found['mfu']['palm']:.1%}",
                    f"{found['ceiling']['share']:.1%}",
                )
                speed = f"{found['tokens_per_second']:,.0f}"
                rows.append(
                    (
                        f"{model}, {kind}",
                        speed,
                        *shares,
                        f"{found['peak_bytes'] / 1e9:,.1f}",
                        str(result["largest"]),
                    )
                )
    names = {
        f"{result['machine']['name']}, {result['measured']}{partly(result)}"
        for result in steps.values()
    }
    yield (
        f"{'; '.join(sorted(names))}. bf16 on fp32 masters, "
        "windows of 4,096 random tokens, no loader. Shares of the bf16 peak with"
    )
    yield (
        "attention counted causally and as PaLM does; "
        "share of the ceiling that the roofline allows."
    )
    yield ""
    header = (
        "model",
        "tokens/s",
        "causal",
        "PaLM",
        "of the ceiling",
        "GB at most",
        "windows per step",
    )
    yield from table(header, rows)


def _kernels(result: Result) -> Iterator[str]:
    rates = result["measured_rates"]
    yield (
        f"{result['machine']['name']}, {result['measured']}{partly(result)}. "
        f"Copies {rates['copy'] / 1e12:.2f} TB/s, products"
    )
    yield (
        f"{rates['product'] / 1e12:,.0f} TFLOP/s, measured before. "
        "Medians in microseconds; the floor follows from bytes, operations and"
    )
    yield "these rates."
    yield ""
    rows = []
    for name, found in result["operations"].items():
        rows += [
            _row(f"{name}: {part}", found[part])
            for part in PARTS
            if "ours" in found.get(part, {}).get("microseconds", {})
        ]
    yield from table(
        (
            "kernel, shape",
            "MB",
            "floor",
            "ours",
            "share of the floor",
            "fastest other",
            "times faster",
        ),
        rows,
    )
    failed = {
        f"{name}: {found['failed']}"
        for name, found in result["operations"].items()
        if "failed" in found
    }
    if failed:
        yield from ("", f"Failed: {'; '.join(sorted(failed))}.")


def _row(name: str, found: dict[str, Any]) -> tuple[str, ...]:
    other = found.get("fastest_other")
    best = f"{other} {found['microseconds'][other]['median']:,.1f}" if other else ""
    times = f"{found['times_faster']:.2f}" if other else ""
    ours = found["microseconds"]["ours"]["median"]
    share = f"{found['share_of_floor']['ours']:.0%}"
    return (
        name,
        f"{found['bytes'] / 1e6:,.1f}",
        f"{found['floor_us']:,.1f}",
        f"{ours:,.1f}",
        share,
        best,
        times,
    )
