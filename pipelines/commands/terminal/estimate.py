"""What a training will need, on the terminal: speed, memory by part, hours by phase, disk, energy,
and what a device that need not be here would need at least.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipelines.commands.options import print_json, print_table
from pipelines.report.numerals import byte_size, count, duration, share

_BUSY = 0.05
"""Share of the time waited for a processor from which on it is said."""

if TYPE_CHECKING:
    from pipelines.run.estimate import Estimate
    from trainer.costs.roofline import Roofline


def print_estimate(found: Estimate, floor: Roofline, as_json: bool) -> None:
    """The tables and what follows from them, or exact figures."""
    if as_json:
        print_json({**found.to_json(), "device": _on_device(found, floor)})
        return
    for line in _speeds(found):
        print(line)
    print()
    print_table(("memory", "bytes", "", "share", "known"), _memory(found))
    print()
    print_table(("time", "takes", "share", "steps", "tokens", "times"), _times(found))
    print()
    for line in (*_summary(found), _device_line(found, floor)):
        print(line)


def _speeds(found: Estimate) -> Iterator[str]:
    for (length, windows), speed in found.probed.speeds.items():
        half = speed.half_width
        within = "" if half is None else f" \u00b1{share(half, speed.seconds)}"
        yield (
            f"{speed.tokens_per_second:,.0f} tokens/s{within}: {len(speed.each)} steps of "
            f"{windows:,} windows of {length:,} tokens, over {found.batches}"
        )


def _memory(found: Estimate) -> list[tuple[str, int, str, str, str]]:
    rows: list[tuple[str, int, str, str, str]] = []
    for where, total in (("process", found.memory_bytes), ("gpu", found.gpu_bytes)):
        own = [row for row in found.memory if row.where == where]
        for row in own:
            on = " (GPU)" if where == "gpu" else ""
            rows.append(
                (
                    f"{row.part}{on}",
                    row.bytes,
                    byte_size(row.bytes),
                    share(row.bytes, total),
                    row.how,
                )
            )
        if own:
            title = "most at once on the GPU" if where == "gpu" else "most at once in the process"
            rows.append((title, total, byte_size(total), "", ""))
    return rows


def _times(found: Estimate) -> list[tuple[str, str, str, str, str, str]]:
    rows = [
        (
            row.part,
            duration(row.seconds),
            share(row.seconds, found.seconds),
            count(row.steps) if row.steps else "-",
            count(row.tokens) if row.tokens else "-",
            count(row.times) if row.times > 1 else "-",
        )
        for row in found.times
    ]
    return [*rows, ("in all", duration(found.seconds), "", "", "", "")]


def _summary(found: Estimate) -> Iterator[str]:
    waited = found.probed.waited
    if waited is not None and waited > _BUSY:
        yield (
            f"Other programs had the processor in {share(waited, 1)} of the probe: these are the "
            "times of a machine that stays as busy. Undisturbed it would take about "
            f"{duration(found.undisturbed_seconds)}."
        )
    free = "" if found.free_bytes is None else f"; {byte_size(found.free_bytes)} are free"
    yield (
        f"Disk: {count(found.checkpoints)} checkpoints, {byte_size(found.disk_bytes)} in all{free}."
    )
    if found.free_bytes is not None and found.disk_bytes > found.free_bytes:
        yield "The disk is too small for them: raise train.checkpoint_every, or free some."
    if found.kilowatt_hours is not None:
        yield f"Energy: {found.kilowatt_hours:.3g} kWh at {found.watts:g} W."
    for sentence in found.unknown:
        yield f"{sentence[0].upper()}{sentence[1:]}."


def _device_line(found: Estimate, floor: Roofline) -> str:
    facts = _on_device(found, floor)
    return (
        f"On {facts['name']} in {facts['precision']} the updates would take at least "
        f"{duration(facts['seconds'])} ({facts['tokens_per_second']:,.0f} tokens/s, the ceiling of "
        "--roofline; a small model comes nowhere near it)."
    )


def _on_device(found: Estimate, floor: Roofline) -> dict[str, Any]:
    """What the updates of the plan and its branches would take on a device at the least."""
    tokens = sum(row.tokens for row in found.times)
    return {
        "name": floor.device.name,
        "precision": floor.precision,
        "tokens_per_second": floor.tokens_per_second,
        "tokens": tokens,
        "seconds": tokens / floor.tokens_per_second,
    }
