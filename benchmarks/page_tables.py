"""What the sections of the performance page are made of: headings, tables, figures as they are
written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

PACKAGES = ("numba", "numpy", "pyarrow", "datasketch", "datatrove")


def heading(title: str, name: str, result: dict[str, Any]) -> Iterator[str]:
    machine = dict(result.get("machine", {}))
    flat = {key: machine.pop(key) for key in PACKAGES if key in machine}
    versions = machine.pop("packages", flat)
    yield from (f"## {title}", "")
    facts = [f"{machine['processor']}" if "processor" in machine else "machine not recorded"]
    facts += [f"Python {machine['python']}"] if "python" in machine else []
    facts += [f"{package} {version}" for package, version in versions.items()]
    facts += [f"load average {machine['load_average']}"] if "load_average" in machine else []
    yield from (f"`results/{name}.json`: {', '.join(facts)}.", "")


def start_up(result: dict[str, Any]) -> Iterator[str]:
    seconds = result.get("start_up_seconds", {})
    if seconds:
        listed = ", ".join(
            f"{what.replace('_', ' ')} {value:g} s" for what, value in seconds.items()
        )
        yield from ("", f"Start-up, in no figure above: {listed}.")


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "|".join("---" if column == 0 else "---:" for column in range(len(header))) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of every number and string."""
    entries = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else None
    )
    if entries is None:
        yield path, value
        return
    for key, inner in entries:
        yield from leaves(inner, f"{path}.{key}" if path else str(key))


def rates(entry: dict[str, float]) -> tuple[str, str]:
    return rate(entry["mb_per_second"]), rate(entry["mb_per_processor_second"])


def rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
