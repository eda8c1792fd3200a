"""Asking a plan which documents a step shows, and which steps show a document: milliseconds, and
whether the answers are true.

    PYTHONPATH=. python benchmarks/trace.py --texts PATH... [--tokens 400e6] [--questions 200]

Over shards of real text (:mod:`token_data`) a plan of two phases is frozen; for random steps the
documents named by the trace are joined from the shards' own columns and compared with the targets
that the loader gives for the step, token by token, and for random documents the steps named are
compared with where the trace of those steps names the document. Sources are open, in one process,
pinned to one core. The floor is the batch itself: a trace reads the same offsets, and an id for
each document. Writes ``benchmarks/results/trace.json``.
"""

from __future__ import annotations

import one_core  # isort: skip  (sets the thread pools)

import argparse
import time
from typing import Any

import numpy as np
from token_data import add_options, prepare

from mixtures.freeze.freeze import Plan, freeze
from mixtures.inspect.trace import ShownSpan, Tracer
from mixtures.loader.loader import Loader
from mixtures.spec.spec import MixtureSpec

WINDOW, BATCH = 4096, 64


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, 400e6)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--core", type=int, default=None)
    arguments = parser.parse_args()
    core = one_core.pin(arguments.core)
    data = prepare(arguments.work, arguments.texts, int(arguments.tokens))
    names = list(data.folders)
    shares = {name: 1 / len(names) for name in names}
    phases = [{"name": "stable", "tokens": int(arguments.tokens), "weights": shares}]
    phases.append(
        {
            "name": "decay",
            "decay": True,
            "tokens": int(arguments.tokens / 10),
            "weights": {names[-1]: 1.0},
        }
    )
    spec = MixtureSpec(phases=phases)  # type: ignore[arg-type]
    plan = freeze(
        spec,
        data.sources,
        sequence_length=WINDOW,
        batch_tokens=WINDOW * BATCH,
        seed=1,
        bos_id=data.tokenizer.bos_id,
    )
    tracer, loader, draw = (
        Tracer(plan, data.folders),
        Loader(plan, data.folders),
        np.random.default_rng(7),
    )
    tracer.step(0)
    steps = draw.integers(0, plan.steps, arguments.questions).tolist()
    step_seconds, documents = traced_steps(plan, tracer, loader, steps)
    asked = [
        documents[place]
        for place in draw.choice(
            len(documents), min(arguments.questions, len(documents)), replace=False
        )
    ]
    document_seconds = traced_documents(tracer, asked)
    result = {
        "machine": one_core.machine(("numpy", "pyarrow", "numba"), core),
        "tokens": plan.tokens,
        "steps": plan.steps,
        "window": WINDOW,
        "batch": BATCH,
        "questions": len(steps),
        "milliseconds_of_a_step": one_core.spread([1000 * seconds for seconds in step_seconds]),
        "documents_of_a_step": len(documents) / len(steps),
        "milliseconds_of_a_document": one_core.spread(
            [1000 * seconds for seconds in document_seconds]
        ),
        "answers": "every step's documents are its batch's tokens; every document's steps show it",
    }
    one_core.publish("trace", result)


def traced_steps(
    plan: Plan, tracer: Tracer, loader: Loader, steps: list[int]
) -> tuple[list[float], list[str]]:
    """Seconds of each question, and the documents named; ends the program when an answer is
    wrong.
    """
    seconds, documents = [], []
    for step in steps:
        clock = time.perf_counter()
        spans = tracer.step(step)
        seconds.append(time.perf_counter() - clock)
        if not np.array_equal(joined(plan, tracer, spans), loader.batch(step).targets):
            raise SystemExit(f"the documents traced for step {step} are not what the loader shows")
        documents += [span.id for span in spans]
    return seconds, documents


def joined(plan: Plan, tracer: Tracer, spans: list[ShownSpan]) -> Any:
    """The tokens of spans, read by part and row, where they stand in the windows of a step."""
    out = np.full((BATCH, WINDOW), -1, np.int32)
    for span in spans:
        stream = tracer.streams[plan.names.index(span.source)]
        part = [pinned.file for pinned in stream.pinned.parts].index(span.part)
        _, rows = stream.layout(part)
        number = int(np.searchsorted(rows, span.row, "right")) - 1
        record = stream.files.record(part, number)
        tokens = record.column("tokens")[span.row - int(rows[number])].values.to_numpy()[
            span.start : span.stop
        ]
        out[span.window, span.place : span.place + len(tokens)] = tokens
    return out


def traced_documents(tracer: Tracer, documents: list[str]) -> list[float]:
    """Seconds of each question; ends the program when an answer is wrong."""
    seconds = []
    for document in documents:
        clock = time.perf_counter()
        spans = tracer.document(document)
        seconds.append(time.perf_counter() - clock)
        for step in {span.step for span in spans}:
            if [span for span in tracer.step(step) if span.id == document] != [
                span for span in spans if span.step == step
            ]:
                raise SystemExit(f"the steps traced for {document} do not show it so")
        if not spans:
            raise SystemExit(f"{document} was shown, and no step was traced for it")
    return seconds


if __name__ == "__main__":
    main()
