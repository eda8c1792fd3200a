"""A plan on the terminal: its table, and the lines below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from artifacts.commands import Command
from mixtures.freeze.caps import Cap
from mixtures.freeze.plan_table import ShareRow, shown_nothing
from mixtures.plan.format import Plan
from pipelines.commands.hints import completed
from pipelines.report.numerals import share

if TYPE_CHECKING:  # needs torch, which planning does not
    from pipelines.training.edits import Edited

NEAR = 0.9  # a cap of which more is used is marked


def plan_rows(rows: Sequence[ShareRow]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Header and rows of the table. Padding has a column where some source has it, caps where there
    are some.
    """
    padded, capped = any(row.padding > 0 for row in rows), any(row.cap is not None for row in rows)
    header = ["phase", "source", "weight", "asked", "planned", "available", "epochs"]
    header += ["padding"] * padded + ["nearest cap"] * capped
    cells = []
    for row in rows:
        cell: list[Any] = [
            row.phase or "run",
            row.source,
            f"{row.weight:.4f}",
            round(row.asked_tokens),
            row.tokens,
            row.available,
        ]
        cell.append(f"{row.epochs:.3f}")
        cell += [f"{100 * row.padding:.1f} %" if row.padding > 0 else ""] * padded
        cell += [cap_text(row.cap)] * capped
        cells.append(tuple(cell))
    return tuple(header), cells


def cap_text(cap: Cap | None) -> str:
    """A cap's name, what it allows and how much of that is used; marked above :data:`NEAR`."""
    if cap is None:
        return ""
    rule = cap.rule
    return (
        f"{rule} {cap.epochs:g}: "
        f"{share(cap.shown, cap.tokens)} used{' !' if cap.used > NEAR else ''}"
    )


def edit_json(edited: Edited) -> dict[str, Any]:
    """What an edit did, exactly."""
    return {
        "before": edited.before.hash,
        "former": edited.former,
        "at": edited.step,
        "trained": edited.trained,
        "plan": edited.plan.hash,
        "steps": edited.plan.steps,
        "tokens": edited.plan.tokens,
    }


def edit_lines(edited: Edited) -> Iterator[str]:
    """From where on the plan is another, and how far it is trained."""
    yield f"\nedited from step {edited.step:,} on; the plan before is {edited.former} in the run"
    yield (
        f"trained so far: {edited.trained:,} steps; {completed(Command('train RECIPE'))} goes on "
        "with the edited plan"
    )


def plan_lines(plan: Plan, rows: Sequence[ShareRow]) -> Iterator[str]:
    """Windows and batches where they change, steps skipped, caps nearly used up, weights that show
    nothing, and what was asked against what is planned.
    """
    if len(plan.contexts) > 1 or len({context.batch_tokens for context in plan.contexts}) > 1:
        for context in plan.contexts:
            phase = plan.segment_at(context.first_step).name
            yield (
                f"from step {context.first_step + 1:,}, phase {phase}: {context.batch_windows:,} "
                "windows of "
                f"{context.sequence_length:,} tokens, {context.batch_tokens:,} tokens a step"
            )
    for one in plan.skipped:
        yield f"steps {one.first_step + 1:,} to {one.last_step:,} make no update (skipped)"
    near = [row for row in rows if row.phase and row.cap is not None and row.cap.used > NEAR]
    for row in near:
        assert row.cap is not None
        yield (
            f"! {row.source} in {row.phase}: {row.cap.shown:,} "
            f"of the {row.cap.tokens:,} tokens that {row.cap.field} allows"
        )
    yield from (f"! {line}" for line in shown_nothing(rows))
    asked = sum(segment.asked_tokens for segment in plan.segments)
    each = f" of {plan.batch_tokens:,} tokens" if len(plan.contexts) == 1 else ""
    yield (
        f"{asked:,} tokens asked, "
        f"{plan.tokens:,} planned in {plan.steps:,} steps{each}; plan {plan.hash}"
    )
