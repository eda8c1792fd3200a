"""Who has seen which document: spans that steps show, and what a take-down touches. Steps are shown
from 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mixtures.inspect.trace import ShownSpan
from pipelines.training.exposure import Touched

MOST_STEPS = 40  # of a document on one line; JSON has all


def span_rows(spans: Sequence[ShownSpan]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Header and rows: a document, or a piece of one, in a window of a step."""
    header = ("step", "window", "place", "source", "document", "part", "row", "tokens", "shown")
    return header, [
        (
            span.step + 1,
            span.window,
            span.place,
            span.source,
            span.id,
            span.part,
            span.row,
            f"{span.start}-{span.stop}",
            "taken down" if span.masked else "step skipped" if span.skipped else "yes",
        )
        for span in spans
    ]


def span_json(span: ShownSpan) -> dict[str, Any]:
    """A document, or a piece of one, in a window of a step, exactly."""
    return {**span.__dict__, "step": span.step + 1}


def touched_rows(documents: Sequence[Touched]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Header and rows: a document, where it lies, and how often it was shown."""
    header = (
        "document",
        "source",
        "part",
        "row",
        "steps",
        "tokens shown",
        "masked",
        "checkpoints",
        "taken down",
    )
    return header, [
        (
            document.id,
            document.source,
            document.part,
            document.row,
            len(document.steps),
            document.shown_tokens,
            document.masked_tokens,
            len(document.checkpoints),
            "yes" if document.taken_down else "",
        )
        for document in documents
    ]


def touched_lines(documents: Sequence[Touched], unknown: Sequence[str]) -> Iterator[str]:
    """Steps and checkpoints of each document that was shown, parts, and ids that are nowhere."""
    for document in documents:
        if document.steps or document.checkpoints or document.masked_steps:
            yield f"\n{document.id}"
            yield (
                f"  shown at step {_steps(document.steps)}"
                if document.steps
                else "  not shown by the run's own training"
            )
            yield from (f"  seen by {path}" for path in document.checkpoints)
            if document.masked_steps:
                yield f"  taken down, so not shown at step {_steps(document.masked_steps)}"
    parts = sorted({document.part for document in documents})
    yield f"\n{len(documents):,} documents in {len(parts):,} parts"
    yield from (f"  {part}" for part in parts)
    if unknown:
        yield f"{len(unknown):,} ids that no shard of this run holds"
        yield from (f"  {document}" for document in unknown)


def _steps(steps: Sequence[int]) -> str:
    shown = ", ".join(str(step) for step in steps[:MOST_STEPS])
    more = len(steps) - MOST_STEPS
    return shown if more <= 0 else f"{shown} and {more:,} more"
