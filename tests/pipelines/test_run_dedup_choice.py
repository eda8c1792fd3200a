"""Which copy stays: equal texts, words or addresses, keep policies over documents' columns, and
sources that win over others.
"""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import orjson
import pytest

from artifacts.errors import UserError
from artifacts.tables import read_parquet
from pipelines.recipe.load import load_recipe
from pipelines.report.explain import explain_document, lines
from pipelines.report.findings import collect
from pipelines.report.page import render
from pipelines.run.driver import RunOutcome, run_recipe
from tests.pipelines.test_report_page import Page

SOURCES = ("web", "code", "sft")


def prose(theme: str, words: int = 60) -> str:
    return " ".join(f"{theme}{number}" for number in range(words))


def run(
    folder: Path, sources: dict[str, list[dict[str, Any]]], stages: list[Any], name: str = "run"
) -> RunOutcome:
    """A run over sources given as records; a conversation makes its source one of instruction
    data.
    """
    entries = []
    for source, records in sources.items():
        (folder / f"{source}.jsonl").write_bytes(
            b"".join(orjson.dumps(record) + b"\n" for record in records)
        )
        entries.append({"name": source, "paths": [f"{source}.jsonl"], "id_field": "id"})
        if any("messages" in record for record in records):
            entries[-1]["messages_field"] = "messages"
    (folder / f"{name}.yaml").write_bytes(
        orjson.dumps({"name": name, "corpus": {"sources": entries, "stages": stages}})
    )
    return run_recipe(load_recipe(folder / f"{name}.yaml"), str(folder / "runs"))


def kept(outcome: RunOutcome) -> set[str]:
    found = set()
    for chunk in outcome.record["chunks"]:
        native = read_parquet(
            outcome.store, chunk["documents"]["name"], "documents", ["native_id"]
        )["native_id"].to_pylist()
        mask = read_parquet(outcome.store, chunk["selection"]["name"], "selection", ["kept"])[
            "kept"
        ].to_pylist()
        found |= {
            f"{chunk['source']}:{one}" for one, stays in zip(native, mask, strict=True) if stays
        }
    return found


# -- what is equal ------------------------------------------------------------------------------

RECORDS = [
    {
        "id": "a",
        "text": "One text, two words.",
        "url": "http://example.com/a",
        "date": "2024-01-02",
    },
    {"id": "b", "text": "ONE  TEXT two words", "url": "http://example.com/b", "date": "2024-03-01"},
    {
        "id": "c",
        "text": "Another page",
        "url": "HTTP://EXAMPLE.com:80/a?utm_source=feed#part",
        "date": "2023-05-05",
    },
    {"id": "d", "text": "One text, two words.", "date": "2022-01-01"},
    {"id": "e", "text": "?!"},
    {"id": "f", "text": "..."},
    {"id": "g", "text": "Without an address"},
]


@pytest.mark.parametrize(
    ("by", "keep", "removed", "reason"),
    [
        ("text", "date desc", {"d"}, "exact_duplicate"),
        ("text", "date", {"a"}, "exact_duplicate"),
        ("normalized_text", "date desc", {"a", "d"}, "same_words"),
        ("normalized_text", "characters desc, date", {"b", "a"}, "same_words"),
        ("url", "date desc", {"c"}, "same_url"),
        ("url", "date", {"a"}, "same_url"),
    ],
)
def test_copies_are_equal_in_text_words_or_address(
    tmp_path: Path, by: str, keep: str, removed: set[str], reason: str
) -> None:
    outcome = run(tmp_path, {"web": RECORDS}, [{"exact_dedup": {"by": by, "keep": keep}}])
    assert {f"web:{record['id']}" for record in RECORDS} - kept(outcome) == {
        f"web:{one}" for one in removed
    }
    ledger = next(ledger for ledger in outcome.ledgers if ledger.step == "exact_dedup")
    assert {name: count.documents for name, count in ledger.total().dropped.items()} == {
        reason: len(removed)
    }
    evidence = read_parquet(
        outcome.store, outcome.record["evidence"]["exact_dedup"]["file"]["name"], "evidence"
    )
    assert evidence["cluster_size"].to_pylist() == [len(removed) + 1] * len(removed)


def test_address_words_and_near_copies_follow_one_another(tmp_path: Path) -> None:
    pages = [
        {"id": "old", "text": prose("a"), "url": "http://x.y/1", "date": "2023"},
        {"id": "new", "text": prose("b"), "url": "http://X.y/1#a", "date": "2024"},
        {"id": "loud", "text": prose("b").upper(), "url": "http://x.y/2", "date": "2022"},
        {"id": "near", "text": prose("b", 58), "url": "http://x.y/3", "date": "2022"},
        {"id": "other", "text": prose("c"), "url": None},
    ]
    stages = [
        {"exact_dedup": {"name": "addresses", "by": "url", "keep": "date desc"}},
        {"exact_dedup": {"name": "words", "by": "normalized_text", "keep": "date desc"}},
        {"minhash_dedup": {"keep": "characters desc"}},
    ]
    outcome = run(tmp_path, {"web": pages}, stages)
    assert kept(outcome) == {"web:new", "web:other"}
    dropped = {
        ledger.step: dict(ledger.total().dropped)
        for ledger in outcome.ledgers
        if ledger.total().dropped
    }
    assert {step: list(reasons) for step, reasons in dropped.items()} == {
        "addresses": ["same_url"],
        "words": ["same_words"],
        "minhash_dedup": ["near_duplicate"],
    }


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        ("tokens desc, id", "tokens are counted after deduplication"),
        ("words desc", "put the stage heuristics before this one"),
        ("language_score desc", "put the stage language before this one"),
        ("quality desc", "put the stage that measures it before this one"),
    ],
)
def test_a_column_that_needs_a_measure_first_says_which(
    tmp_path: Path, keep: str, said: str
) -> None:
    with pytest.raises(UserError) as caught:
        run(tmp_path, {"web": RECORDS}, [{"exact_dedup": {"keep": keep}}])
    assert said in (caught.value.fix or "")
    assert caught.value.found == keep.split()[0]
    assert caught.value.allowed == ["bytes", "characters", "date", "id", "source_rank"]


def test_the_first_column_that_differs_decides(tmp_path: Path) -> None:
    """Size, then date, then source, then id; a missing date loses."""
    copies = [
        {"id": str(number), "text": prose("x"), "date": date}
        for number, date in enumerate(["2020", "2024-05", None, "2024-05"])
    ]
    more = [
        {"id": "same date", "text": prose("x"), "date": "2024-05"},
        {"id": "no date", "text": prose("x")},
    ]
    stages = [{"exact_dedup": {"keep": "bytes desc, date desc, source_rank, id"}}]
    stays = kept(run(tmp_path, {"web": copies, "more": more}, stages))
    assert len(stays) == 1
    assert stays <= {"web:1", "web:3"}
    assert kept(run(tmp_path, {"more": more, "web": copies}, stages)) == {"more:same date"}


# -- sources ------------------------------------------------------------------------------------


def shared(source: str) -> list[dict[str, Any]]:
    """An equal text, a near copy (the others differ in how long it is) and a text of its own."""
    length = 60 + 2 * SOURCES.index(source)
    rows = [
        {"id": "equal", "text": prose("e")},
        {"id": "near", "text": prose("n", length)},
        {"id": "own", "text": prose(source)},
    ]
    return rows


@pytest.mark.parametrize("order", list(permutations(SOURCES)))
def test_copies_stay_in_the_sources_in_the_order_preferred(
    tmp_path: Path, order: tuple[str, ...]
) -> None:
    stages = [
        {"exact_dedup": {"prefer": list(order)}},
        {"minhash_dedup": {"prefer": list(order), "keep": "characters desc"}},
    ]
    outcome = run(tmp_path, {source: shared(source) for source in SOURCES}, stages)
    assert kept(outcome) == {f"{source}:own" for source in SOURCES} | {
        f"{order[0]}:equal",
        f"{order[0]}:near",
    }
    for step in ("exact_dedup", "minhash_dedup"):
        assert outcome.record["evidence"][step]["in_favour_of"] == {
            source: {order[0]: 1} for source in SOURCES if source != order[0]
        }


def test_sources_not_preferred_come_after_and_keep_decides_among_them(tmp_path: Path) -> None:
    outcome = run(
        tmp_path,
        {source: shared(source) for source in SOURCES},
        [{"minhash_dedup": {"prefer": ["code"], "keep": "characters desc"}}],
    )
    assert {one for one in kept(outcome) if one.endswith("near")} == {"code:near"}
    without = {source: shared(source) for source in SOURCES if source != "code"}
    outcome = run(
        tmp_path,
        without | {"code": [{"id": "own", "text": prose("code")}]},
        [{"minhash_dedup": {"prefer": ["code"], "keep": "characters desc"}}],
    )
    assert {one for one in kept(outcome) if one.endswith("near")} == {"sft:near"}  # the longest


def test_instruction_data_of_the_decay_wins_or_loses_against_the_web_as_ordered(
    tmp_path: Path,
) -> None:
    """The same exercise in the stable source, as a page, and in the decay source, as a
    conversation.
    """
    question, answer = prose("question", 30), prose("answer", 60)
    chat = {
        "id": "chat",
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ],
    }
    sources = {
        "web": [
            {"id": "page", "text": f"{question}\n\n{answer}"},
            {"id": "own", "text": prose("w")},
        ],
        "sft": [chat],
    }
    for prefer, winner in ((["sft", "web"], "sft:chat"), (["web", "sft"], "web:page")):
        stages = [{"minhash_dedup": {"verify": 0.6, "prefer": prefer, "keep": "characters desc"}}]
        if winner == "web:page":
            sources["sft"] = [
                chat,
                {
                    "id": "more",
                    "messages": [
                        {"role": "user", "content": prose("m")},
                        {"role": "assistant", "content": "yes"},
                    ],
                },
            ]
        outcome = run(tmp_path, sources, stages)
        assert winner in kept(outcome)
        assert len(kept(outcome) & {"sft:chat", "web:page"}) == 1


def test_source_rank_first_in_keep_is_the_order_of_the_recipe(tmp_path: Path) -> None:
    for order in (SOURCES, SOURCES[::-1]):
        outcome = run(
            tmp_path,
            {source: shared(source) for source in order},
            [{"minhash_dedup": {"keep": "source_rank, characters desc"}}],
        )
        assert {one for one in kept(outcome) if one.endswith("near")} == {f"{order[0]}:near"}


def test_the_order_of_sources_is_part_of_what_decides_a_comparison(tmp_path: Path) -> None:
    sources = {source: shared(source) for source in SOURCES}
    one = run(tmp_path, sources, [{"minhash_dedup": {"prefer": ["web"]}}])
    other = run(tmp_path, sources, [{"minhash_dedup": {"prefer": ["sft"]}}])
    again = run(tmp_path, sources, [{"minhash_dedup": {"prefer": ["sft"]}}])
    assert kept(one) != kept(other)
    assert {ledger.step for ledger in other.ledgers if ledger.computed} == {"minhash_dedup"}
    assert again.computed == 0


@pytest.mark.parametrize(
    ("stage", "found", "allowed"),
    [
        ({"prefer": ["sfd"]}, "sfd", ["web", "code", "sft"]),
        ({"prefer": ["sft", "sft"]}, "sft", None),
        ({"prefer": ["sft"], "sources": ["web", "code"]}, "sft", ["web", "code"]),
    ],
)
def test_a_wrong_source_to_prefer_is_named_with_its_line(
    tmp_path: Path, stage: dict[str, Any], found: str, allowed: list[str] | None
) -> None:
    with pytest.raises(UserError) as caught:
        run(tmp_path, {source: shared(source) for source in SOURCES}, [{"minhash_dedup": stage}])
    assert (caught.value.found, caught.value.allowed) == (found, allowed)
    assert caught.value.field == "minhash_dedup.prefer"
    assert caught.value.line == 1


def test_explain_names_both_sources(tmp_path: Path) -> None:
    outcome = run(
        tmp_path,
        {source: shared(source) for source in SOURCES},
        [{"minhash_dedup": {"prefer": ["code"], "keep": "characters desc"}}],
    )
    facts = explain_document(outcome.store, outcome.record, "web:near")
    assert (facts["document"]["source"], facts["evidence"]["minhash_dedup"]["kept_source"]) == (
        "web",
        "code",
    )
    assert any(line.endswith("cluster of 3, from code") for line in lines(facts))


def test_the_report_has_a_table_of_sources_against_sources(tmp_path: Path) -> None:
    outcome = run(
        tmp_path,
        {source: shared(source) for source in SOURCES},
        ["exact_dedup", {"minhash_dedup": {"prefer": ["code"], "quality_sample": 50}}],
    )
    html = render(outcome.record, collect(outcome.store, outcome.record))
    rows = Page(html).rows
    assert ["source", "code"] in rows
    assert ["web", "1"] in rows
    assert ["sft", "1"] in rows
    assert "sampled kept documents missed" in html
