"""What a record keeps of earlier calls: what they made and this one has not got to, and its cost.

    take_over(store, content, before, reached, last)

So a call that stops early takes nothing out of ``run.json`` that lies in the run folder.
"""

from __future__ import annotations

from typing import Any

from artifacts.paths import Store
from pipelines.report.calls import (
    CORPUS,
    LATER,
    SHARDS,
    TRAIN,
    call_number,
    costs_of,
    encoded_files,
    made,
    recipe_of,
    selection_of_shards,
    stretch_of,
)
from tokenizer.shards.manifest import MANIFEST_NAME

_ORDER = ("read", CORPUS, *LATER)
_CHOSEN = ("chunks", "quarantine", "selection", "languages", "evidence")
"""What choosing documents puts into the record."""


def take_over(
    store: Store, content: dict[str, Any], before: dict[str, Any], reached: str, last: str
) -> None:
    """Put into ``content`` what the record ``before`` holds of the stretches after ``reached``, up
    to the recipe's ``last``, each with the call and the recipe that made it.
    """
    own = list(content["ledgers"])
    content["call"] = call_number(before) + 1 if before else 1
    content["made"] = {CORPUS: {"call": content["call"]}}
    if reached == "read" and _of_the_same_documents(store, content, before):
        content.update({name: before[name] for name in _CHOSEN})
        content["ledgers"] = _corpus_ledgers(own, before)
        content["made"][CORPUS] = _mark(content, before, CORPUS)
    for stretch, names in LATER.items():
        if _ORDER.index(stretch) <= _ORDER.index(reached):
            content["made"][stretch] = {"call": content["call"]}
        elif _ORDER.index(stretch) <= _ORDER.index(last) and _there(store, before, stretch):
            content["made"][stretch] = _mark(content, before, stretch)
            content.update({name: before[name] for name in names if name in before})
            content["ledgers"] += [
                ledger for ledger in before["ledgers"] if stretch_of(ledger["step"]) == stretch
            ]
    content["costs"] = _costs(content, own, before)


def trained(record: dict[str, Any], recipe: dict[str, Any]) -> None:
    """Note that a call trained and made nothing else, with this recipe."""
    marks = {stretch: made(record, stretch) for stretch in (CORPUS, *LATER)}
    record["call"] = call_number(record) + 1
    marks[_ORDER[-1]] = {"call": record["call"]}
    marks[_ORDER[-1]] |= {} if recipe == record["recipe"] else {"recipe": recipe}
    record["made"] = marks


def book_costs(record: dict[str, Any], ledgers: list[dict[str, Any]]) -> None:
    """Add to a record's costs what its call made of these steps."""
    known = record.get("costs")
    known = costs_of(record["ledgers"], 1) if known is None else known
    record["costs"] = {**known, **costs_of(ledgers, record["call"])}


def _mark(content: dict[str, Any], before: dict[str, Any], stretch: str) -> dict[str, Any]:
    """The call and the recipe of a stretch that is taken over; of shards what they were made of."""
    mark: dict[str, Any] = {"call": made(before, stretch)["call"]}
    if (recipe := recipe_of(before, stretch)) != content["recipe"]:
        mark["recipe"] = recipe
    if stretch == SHARDS:
        mark["selection"] = selection_of_shards(before)
        files = encoded_files(before)
        mark["encoded"] = [[source, file.to_json()] for source, file in files]
    return mark


def _of_the_same_documents(store: Store, content: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether an earlier call chose from the documents that were read now, as this recipe says, and
    its selection still lies in the run.
    """
    if not before.get("selection"):
        return False
    read = [[chunk["documents"] for chunk in record["chunks"]] for record in (content, before)]
    same = recipe_of(before, CORPUS)["corpus"] == content["recipe"]["corpus"]
    files = [file["name"] for file in before["selection"].values()]
    return same and read[0] == read[1] and all(store.exists(name) for name in files)


def _corpus_ledgers(own: list[dict[str, Any]], before: dict[str, Any]) -> list[dict[str, Any]]:
    """Ledgers of reading, this call's, and those of choosing after it."""
    steps = {ledger["step"] for ledger in own}
    return own + [
        ledger
        for ledger in before["ledgers"]
        if stretch_of(ledger["step"]) == CORPUS and ledger["step"] not in steps
    ]


def _there(store: Store, before: dict[str, Any], stretch: str) -> bool:
    """Whether earlier calls made a stretch, and its files still lie in the run."""
    if not all(before.get(name) for name in LATER[stretch][:2]):
        return False
    if stretch == TRAIN:
        return store.exists(before["plan"]) and bool(store.names(before["training"]["folder"]))
    if stretch == SHARDS:
        files = [f"{entry['folder']}/{MANIFEST_NAME}" for entry in before["shards"].values()]
        files += [file.name for _, file in encoded_files(before)]
    else:
        files = [before["tokenizer"]["file"]["name"]] if stretch == "tokenizer" else []
    return all(store.exists(name) for name in files)


def _costs(
    content: dict[str, Any], own: list[dict[str, Any]], before: dict[str, Any]
) -> dict[str, Any]:
    """What every step of the record cost when a call last made units of it."""
    known = before.get("costs")
    known = costs_of(before.get("ledgers", []), call_number(before)) if known is None else known
    steps = {ledger["step"] for ledger in content["ledgers"]}
    costs = {**known, **costs_of(own, content["call"])}
    return {step: cost for step, cost in costs.items() if step in steps}
