"""What holding a plan against its shards came to: a table of sources, findings, a verdict."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from mixtures.inspect.check_plan import SourceCheck
from mixtures.plan.format import Plan


def check_json(plan: Plan, checks: Sequence[SourceCheck], *, deep: bool) -> dict[str, Any]:
    """The same, exactly."""
    return {
        "plan": plan.hash,
        "steps": plan.steps,
        "tokens": plan.tokens,
        "deep": deep,
        "sources": [
            {**dataclasses.asdict(check), "findings": [str(finding) for finding in check.findings]}
            for check in checks
        ],
    }


def check_rows(checks: Sequence[SourceCheck]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Header and rows of the table."""
    header = (
        "source",
        "parts",
        "documents",
        "tokens",
        "parts since",
        "tokens since",
        "taken down",
        "tokens never shown",
    )
    return header, [
        (
            check.source,
            check.parts,
            check.rows,
            check.tokens,
            check.later_parts,
            check.later_tokens,
            check.removed_documents,
            check.removed_tokens,
        )
        for check in checks
    ]


def check_lines(plan: Plan, checks: Sequence[SourceCheck], *, deep: bool) -> Iterator[str]:
    """What is damaged, and the verdict."""
    damaged = [(check.source, finding) for check in checks for finding in check.findings]
    for source, finding in damaged:
        yield f"{source}: {finding}"
    bytes_too = "every byte of their parts" if deep else "their manifests (--deep reads the parts)"
    verdict = (
        f"{len(damaged)} findings in the parts"
        if damaged
        else f"holds: sources by {bytes_too}, counts, rules"
    )
    yield f"\nplan {plan.hash}, {plan.steps:,} steps, {plan.tokens:,} tokens: {verdict}"
