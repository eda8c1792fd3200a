"""Which call of a run made what its record holds, with which recipe, and what that cost.

A call that stops early leaves in the record the tokenizer, the shards and the training that earlier
calls made; one that finds everything there leaves what the making cost. ``record["call"]`` counts
the calls, ``record["made"]`` has the call of each stretch, ``record["costs"]`` that of each step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from artifacts.publish import FileRef
from pipelines.report.numerals import count
from pipelines.stages.step_names import is_training

CORPUS, TOKENIZER, SHARDS, TRAIN = "corpus", "tokenizer", "shards", "train"
LATER = {
    TOKENIZER: ("tokenizer",),
    SHARDS: ("encoded", "shards"),
    TRAIN: ("plan", "training", "branches", "samples"),
}
"""The stretches after the corpus, in order, and what each puts into the record."""
_STEPS = {"tokenizer": TOKENIZER, "encode": SHARDS, "split": SHARDS, "shards": SHARDS}
_NAMES = {CORPUS: "the corpus", TOKENIZER: "the tokenizer"}
_NAMES |= {SHARDS: "the shards", TRAIN: "the training"}


@dataclass(frozen=True)
class StepCost:
    """What a step cost in the call that last made units of it; None where no call is known."""

    step: str
    call: int | None
    made: int | None
    units: int
    seconds: float
    peak_bytes: int


def stretch_of(step: str) -> str:
    """The stretch of a run that a ledger's step belongs to."""
    return TRAIN if is_training(step) else _STEPS.get(step, CORPUS)


def call_number(record: dict[str, Any]) -> int:
    """The number of the call that wrote a record, from 1; older records count as the first."""
    return int(record.get("call", 1))


def made(record: dict[str, Any], stretch: str) -> dict[str, Any]:
    """What the record says of a stretch: its call, and its recipe where that is another one."""
    mark: dict[str, Any] = record.get("made", {}).get(stretch, {"call": call_number(record)})
    return mark


def recipe_of(record: dict[str, Any], stretch: str) -> dict[str, Any]:
    """The recipe that a stretch was made with."""
    recipe: dict[str, Any] = made(record, stretch).get("recipe", record["recipe"])
    return recipe


def encoded_files(record: dict[str, Any]) -> list[tuple[str, FileRef]]:
    """Sources and files of the encoded documents that the record's shards were made of."""
    known = made(record, SHARDS).get("encoded")
    if known is None:
        chunks = record["chunks"]
        known = [(chunk["source"], chunk["encoded"]) for chunk in chunks if chunk["encoded"]]
    return [(source, FileRef.from_json(file)) for source, file in known]


def selection_of_shards(record: dict[str, Any]) -> dict[str, Any]:
    """The final selection that the record's shards were made of."""
    selection: dict[str, Any] = made(record, SHARDS).get("selection", record.get("selection", {}))
    return selection


def shards_hold_the_corpus(record: dict[str, Any]) -> bool:
    """Whether the record's shards are of the documents that its corpus keeps."""
    return bool(selection_of_shards(record) == record.get("selection", {}))


def earlier_stretches(record: dict[str, Any]) -> Iterator[str]:
    """A sentence for every call but the last that made something the record holds."""
    last, by_call = call_number(record), dict[tuple[int, bool], list[str]]()
    read = {CORPUS: ("selection",)} if record["reached"] == "read" else {}
    for stretch, names in (read | LATER).items():
        mark = made(record, stretch)
        if mark["call"] != last and any(record.get(name) for name in names):
            by_call.setdefault((mark["call"], "recipe" in mark), []).append(_NAMES[stretch])
    for (call, other), things in by_call.items():
        what = " and ".join([", ".join(things[:-1]), things[-1]] if things[1:] else things)
        settings = ", with other settings than this recipe's" if other else ""
        yield (
            f"{what[0].upper()}{what[1:]} {'are' if things[1:] else _is(things[0])} as of call "
            f"{count(call)}{settings}; the last call is number {count(last)}."
        )


def _is(thing: str) -> str:
    return "are" if thing.endswith("shards") else "is"


def step_costs(record: dict[str, Any]) -> list[StepCost]:
    """What each step of the record cost when it was last made, in order."""
    costs = record.get("costs")
    costs = costs_of(record["ledgers"], call_number(record)) if costs is None else costs
    return [_cost(ledger, costs.get(ledger["step"])) for ledger in record["ledgers"]]


def costs_of(ledgers: list[dict[str, Any]], call: int) -> dict[str, dict[str, Any]]:
    """What the steps cost that a call made units of, by step."""
    return {
        ledger["step"]: {
            "call": call,
            "made": ledger["computed"],
            **{name: ledger[name] for name in ("units", "seconds", "peak_bytes")},
        }
        for ledger in ledgers
        if ledger["computed"]
    }


def _cost(ledger: dict[str, Any], cost: dict[str, Any] | None) -> StepCost:
    if cost is None:
        return StepCost(ledger["step"], None, None, ledger["units"], 0.0, 0)
    return StepCost(step=ledger["step"], **cost)
