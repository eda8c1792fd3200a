"""Whole runs that cut repeated passages and lines: what is left, what is said about it, and that
nothing else decides.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from artifacts.ids import document_ids, native_key
from dedup.spans.passages import anchors
from dedup.spans.spans import MOST_ALIKE, cut
from pipelines.comparisons.spans import rounds as span_phase
from pipelines.comparisons.spans.work import SpanTask, shares_of
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.texts import ChunkTexts
from pipelines.recipe.load import load_recipe
from pipelines.report.explain import explain_document, lines
from pipelines.report.numerals import byte_size
from pipelines.report.page import REPORT, write_report
from pipelines.run.driver import RunOutcome, run_recipe
from tests.dedup.dedup_model import column, words_of
from tests.dedup.span_model import cut_pieces, cut_words, placed_words
from tests.pipelines.run_trees import tree

LENGTH = 20
FOOTER = "Sign up for the newsletter of the house and never miss a thing again."
WORDS = [f"word{number}" for number in range(500)] + [chr(0x4E00 + number) for number in range(200)]


def corpus() -> dict[str, list[dict[str, Any]]]:
    """Documents by source, put together from fresh and from shared passages; two whole copies,
    conversations, and menus.
    """
    random = np.random.default_rng(11)

    def fresh(count: int) -> str:
        return " ".join(random.choice(WORDS, count)) + ".\n\n"

    shared = [fresh(count) for count in (20, 25, 60, 200)]
    made: dict[str, list[dict[str, Any]]] = {"first": [], "second": [], "talks": []}
    for number in range(90):
        text = "".join(
            shared[int(random.integers(4))]
            if random.random() < 0.4
            else fresh(int(random.integers(5, 50)))
            for _ in range(4)
        )
        text += f"{FOOTER}\n" if number % 3 == 0 else ""
        made["first" if number % 2 else "second"].append({"id": f"d{number}", "text": text})
    made["second"] += [
        {"id": "copy-1", "text": shared[3]},
        {"id": "copy-2", "text": shared[3]},
        {"id": "short", "text": "Yes."},
    ]
    messages = [{"role": "user", "content": shared[2]}, {"role": "assistant", "content": shared[3]}]
    made["talks"] = [{"id": f"t{number}", "messages": messages} for number in range(3)]
    return made


def write(
    folder: Path, stages: str, chunk_mib: float = 1 / 64, reverse: bool = False, name: str = "spans"
) -> Path:
    for source, documents in corpus().items():
        ordered = documents[::-1] if reverse else documents
        (folder / f"{source}.jsonl").write_text(
            "".join(json.dumps(document) + "\n" for document in ordered)
        )
    recipe = folder / f"{name}.yaml"
    recipe.write_text(
        f"name: {name}\ncorpus:\n  sources:\n    - {{name: first, paths: [first.jsonl], id_field: id}}\n"
        "    - {name: second, paths: [second.jsonl], id_field: id}\n"
        "    - {name: talks, paths: [talks.jsonl], id_field: id, messages_field: messages}\n"
        f"  stages: [{stages}]\n  chunk_mib: {chunk_mib}\n"
    )
    return recipe


SUBSTRING = f"substring_dedup: {{length: {LENGTH}}}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spans")


@pytest.fixture(scope="module")
def cut_run(folder: Path) -> RunOutcome:
    return run_recipe(load_recipe(write(folder, f"{{{SUBSTRING}}}")), str(folder / "runs"))


def texts_of(outcome: RunOutcome, rewrites: int | None = None) -> dict[bytes, str]:
    """Text of every document after the first so many rewrites, all by default."""
    texts = {}
    for entry in outcome.record["chunks"]:
        chunk = Chunk.from_json({**entry, "rewrites": entry["rewrites"][:rewrites]})
        for batch in ChunkTexts(outcome.store, chunk).batches():
            texts |= dict(zip(batch["id"].to_pylist(), batch["text"].to_pylist(), strict=True))
    return texts


def kept_of(outcome: RunOutcome) -> dict[bytes, str | None]:
    """Reason for which each document went, None where it stays."""
    tables = [
        pq.read_table(outcome.store.full(ref["name"]))
        for ref in outcome.record["selection"].values()
    ]
    return {
        row["id"]: None if row["kept"] else row["reason"]
        for table in tables
        for row in table.to_pylist()
    }


def spans_of(outcome: RunOutcome, step: str) -> list[dict[str, Any]]:
    tables = [
        pq.read_table(outcome.store.full(entry["cuts"][step]["name"]))
        for entry in outcome.record["chunks"]
        if step in entry["cuts"]
    ]
    return [row for table in tables for row in table.to_pylist()]


def ledger_of(outcome: RunOutcome, step: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        ledger for ledger in outcome.record["ledgers"] if ledger["step"] == step
    )
    return found


def in_keep_order() -> list[tuple[bytes, str]]:
    """Ids and texts of the documents that take part, the most wanted first: by source, then by
    id.
    """
    found = []
    for rank, source in enumerate(("first", "second")):
        ids = document_ids(
            source, [native_key(document["id"]) for document in corpus()[source]]
        ).to_pylist()
        found += [
            (rank, own, document["text"])
            for own, document in zip(ids, corpus()[source], strict=True)
        ]
    return [(own, text) for _, own, text in sorted(found)]


def test_the_words_that_are_left_are_those_a_plain_computation_leaves(cut_run: RunOutcome) -> None:
    wanted = in_keep_order()
    gone = cut_words([text for _, text in wanted], range(len(wanted)), LENGTH)
    assert len(gone) > 2000
    texts, reasons = texts_of(cut_run), kept_of(cut_run)
    for row, (own, text) in enumerate(wanted):
        places = placed_words(text)
        left = [
            text.encode()[start:end].decode()
            for word, (start, end) in enumerate(places)
            if (row, word) not in gone
        ]
        if places and not left:
            assert (reasons[own], texts[own]) == ("nothing_left", text)
        else:
            assert reasons[own] is None
            kept = texts[own].encode()
            assert [kept[start:end].decode() for start, end in placed_words(texts[own])] == left


def test_the_evidence_says_what_stood_where_before(cut_run: RunOutcome) -> None:
    before, after = texts_of(cut_run, 0), texts_of(cut_run)
    order = {own: rank for rank, (own, _) in enumerate(in_keep_order())}
    spans = spans_of(cut_run, "substring_dedup")
    assert len(spans) > 50
    by_document: dict[bytes, list[tuple[int, int]]] = {}
    for span in spans:
        own, kept = before[span["id"]].encode(), before[span["kept_id"]].encode()
        stretch = own[span["start"] : span["end"]]
        assert stretch == kept[span["kept_start"] :][: len(stretch)]
        assert (order[span["kept_id"]], span["kept_start"]) < (order[span["id"]], span["start"])
        assert span["words"] == len(words_of(stretch.decode())) >= LENGTH
        assert span["kind"] == "passage"
        by_document.setdefault(span["id"], []).append((span["start"], span["end"]))
    reasons = kept_of(cut_run)
    for own, stretches in by_document.items():
        columns = np.array(sorted(stretches), np.int64)
        rest, _ = cut(
            column([before[own]]), np.zeros(len(columns), np.int64), columns[:, 0], columns[:, 1]
        )
        assert after[own] == (before[own] if reasons[own] else rest[0].as_py())


def test_every_byte_stays_or_goes_under_a_reason(cut_run: RunOutcome) -> None:
    ledger, before, after = (
        ledger_of(cut_run, "substring_dedup"),
        texts_of(cut_run, 0),
        texts_of(cut_run),
    )
    reasons = kept_of(cut_run)
    total = ledger["total"]
    assert total["in"] == {
        "documents": len(before),
        "bytes": sum(len(text.encode()) for text in before.values()),
    }
    stays = [own for own, reason in reasons.items() if reason is None]
    assert total["kept"] == {
        "documents": len(stays),
        "bytes": sum(len(after[own].encode()) for own in stays),
    }
    lost = [own for own, reason in reasons.items() if reason == "nothing_left"]
    assert len(lost) >= 2
    assert total["dropped"]["nothing_left"] == {
        "documents": len(lost),
        "bytes": sum(len(before[own].encode()) for own in lost),
    }
    assert total["dropped"]["repeated_passage"]["documents"] == 0
    assert total["in"]["bytes"] == total["kept"]["bytes"] + sum(
        count["bytes"] for count in total["dropped"].values()
    )
    assert ledger["facts"]["spans"] == len(spans_of(cut_run, "substring_dedup"))


def test_the_report_says_how_much_was_cut(cut_run: RunOutcome) -> None:
    facts = ledger_of(cut_run, "substring_dedup")["facts"]
    write_report(cut_run.store, cut_run.record)
    page = cut_run.store.read(REPORT).decode()
    assert (
        f"Substring dedup cut {byte_size(facts['bytes'])} out of texts, in {facts['spans']:,} spans of {facts['documents']:,} documents."
        in page
    )


def test_conversations_are_neither_cut_nor_a_reason_to_cut(cut_run: RunOutcome) -> None:
    take_part = dict(in_keep_order())
    talks = {own: text for own, text in texts_of(cut_run).items() if own not in take_part}
    assert len(talks) == 3
    assert len(set(talks.values())) == 1
    assert not {span["id"] for span in spans_of(cut_run, "substring_dedup")} & set(talks)
    assert not {span["kept_id"] for span in spans_of(cut_run, "substring_dedup")} & set(talks)


def test_what_was_cut_out_of_a_document_is_explained(cut_run: RunOutcome) -> None:
    span = spans_of(cut_run, "substring_dedup")[0]
    facts = explain_document(cut_run.store, cut_run.record, span["id"].hex())
    assert facts["cuts"]["substring_dedup"][0] == {
        **{name: span[name] for name in ("start", "end", "kept_start", "kind", "words")},
        "kept_id": span["kept_id"].hex(),
    }
    assert any(span["kept_id"].hex() in line for line in lines(facts))


@pytest.mark.slow
def test_lines_go_from_the_third_on_when_two_may_stay(tmp_path: Path) -> None:
    outcome = run_recipe(
        load_recipe(write(tmp_path, "{line_dedup: {least: 6, times: 2}}")), str(tmp_path / "runs")
    )
    wanted = in_keep_order()
    gone = cut_pieces([text for _, text in wanted], range(len(wanted)), "line", 6, 2)
    spans = spans_of(outcome, "line_dedup")
    rows = {own: row for row, (own, _) in enumerate(wanted)}
    covered = {
        (rows[span["id"]], place) for span in spans for place in range(span["start"], span["end"])
    }
    assert {(row, place) for row, start, end in gone for place in range(start, end)} <= covered
    assert sum(text.count(FOOTER) for own, text in texts_of(outcome).items()) == 2
    assert {span["kind"] for span in spans} == {"line"}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunOutcome]:
    folder = tmp_path_factory.mktemp("both")
    return folder, run_recipe(
        load_recipe(write(folder, f"{{{SUBSTRING}}}, {{line_dedup: {{least: 6, times: 2}}}}")),
        str(folder / "runs"),
    )


def test_anchors_are_shared_out_evenly() -> None:
    """They are least hashes, so not evenly spread themselves."""
    random = np.random.default_rng(4)
    found, _ = anchors(column([" ".join(random.choice(WORDS, 20_000)) for _ in range(5)]), 50)
    counts = np.bincount(shares_of(found, 7), minlength=7)
    assert len(counts) == 7
    assert counts.min() > 0.8 * counts.mean()


@pytest.mark.slow
def test_two_workers_write_the_same_bytes_as_one(both: tuple[Path, RunOutcome]) -> None:
    folder, outcome = both
    other = run_recipe(load_recipe(folder / "spans.yaml"), str(folder / "others"), workers=2)
    assert len(outcome.record["chunks"]) > 4
    assert tree(folder / "runs" / "spans") == tree(folder / "others" / "spans")
    assert not [name for name in other.store.names("signals") if "scratch" in name]


def test_files_chunks_and_shares_change_no_text_and_no_evidence(
    both: tuple[Path, RunOutcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, outcome = both
    monkeypatch.setattr(span_phase, "TEXT_PER_HASH_SHARE", 20_000)
    monkeypatch.setattr(span_phase, "KEYS_PER_SHARE", 2_000)
    recipe = load_recipe(
        write(
            tmp_path,
            f"{{{SUBSTRING}}}, {{line_dedup: {{least: 6, times: 2}}}}",
            chunk_mib=1 / 24,
            reverse=True,
        )
    )
    other = run_recipe(recipe, str(tmp_path / "runs"))
    assert len(other.record["chunks"]) != len(outcome.record["chunks"])
    assert texts_of(other) == texts_of(outcome)
    assert kept_of(other) == kept_of(outcome)
    for step in ("substring_dedup", "line_dedup"):
        assert sorted(map(repr, spans_of(other, step))) == sorted(
            map(repr, spans_of(outcome, step))
        )


@pytest.mark.kill
@pytest.mark.parametrize(
    "phase", ["order", "hashes", "twice", "occurrences", "repeats", "requests", "answers", "cut"]
)
def test_a_run_that_dies_in_any_phase_goes_on_to_the_same_bytes(
    folder: Path, cut_run: RunOutcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    run_phase, cut_chunk = span_phase.run_phase, span_phase.cut_chunk

    def dying(task: SpanTask, compute: bool = True) -> Any:
        if (
            compute
            and task.phase == phase
            and task.index == task.chunks // 2 * (task.chunk is not None)
        ):
            raise KeyboardInterrupt
        return (cut_chunk if task.phase == "cut" else run_phase)(task, compute)

    recipe = load_recipe(folder / "spans.yaml")
    with monkeypatch.context() as patch:
        patch.setattr(span_phase, "run_phase", dying)
        patch.setattr(span_phase, "cut_chunk", dying)
        with pytest.raises(KeyboardInterrupt):
            run_recipe(recipe, str(tmp_path))
    run_recipe(recipe, str(tmp_path))
    assert tree(tmp_path / "spans") == tree(Path(cut_run.store.root))


@pytest.mark.slow
def test_a_second_call_finds_everything_and_another_length_only_what_comes_before(
    both: tuple[Path, RunOutcome],
) -> None:
    folder, outcome = both
    recipe = folder / "spans.yaml"
    assert run_recipe(load_recipe(recipe), str(folder / "runs")).computed == 0
    longer = run_recipe(
        load_recipe(recipe, ["corpus.stages.0.substring_dedup.length=4000"]), str(folder / "runs")
    )
    assert longer.computed > 0
    assert not spans_of(longer, "substring_dedup")
    assert run_recipe(load_recipe(recipe), str(folder / "runs")).computed == 0
    assert outcome.record["chunks"][0]["documents"] == longer.record["chunks"][0]["documents"]


def test_a_corpus_without_words_and_one_document_are_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": "1", "text": "..."}) + "\n")
    (tmp_path / "b.jsonl").write_text(json.dumps({"id": "2", "text": "a b c " * 30}) + "\n")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "name: small\ncorpus:\n  sources:\n    - {name: a, paths: [a.jsonl], id_field: id}\n    - {name: b, paths: [b.jsonl], id_field: id}\n"
        "  stages: [{substring_dedup: {length: 8, sources: [a]}}, {substring_dedup: {length: 8, name: again}}]\n"
    )
    outcome = run_recipe(load_recipe(recipe), str(tmp_path / "runs"))
    assert sorted(texts_of(outcome).values()) == ["...", "a b c a b c a b c "]
    assert ledger_of(outcome, "substring_dedup")["total"]["kept"]["documents"] == 2


@pytest.mark.parametrize("stage", ["substring_dedup: {length: 8}", "line_dedup: {least: 1}"])
def test_a_text_that_repeats_itself_without_end_is_left_alone_and_counted(
    tmp_path: Path, stage: str
) -> None:
    ending = "one two three four five six seven eight nine ten\n"
    texts = ["\na " * (MOST_ALIKE + 100), f"{ending}first\n", f"{ending}second\n"]
    lines = [json.dumps({"id": f"d{row}", "text": text}) for row, text in enumerate(texts)]
    (tmp_path / "one.jsonl").write_text("\n".join(lines))
    recipe = tmp_path / "crowded.yaml"
    recipe.write_text(
        "name: crowded\ncorpus:\n  sources: [{name: one, paths: [one.jsonl], id_field: id}]\n"
        f"  stages: [{{{stage}}}]\n"
    )
    outcome = run_recipe(load_recipe(recipe), str(tmp_path / "runs"))
    ids = document_ids("one", [native_key(f"d{row}") for row in range(3)]).to_pylist()
    left = texts_of(outcome)
    assert left[ids[0]] == texts[0]
    assert sorted(len(left[own]) for own in ids[1:]) < sorted(map(len, texts[1:]))
    facts = ledger_of(outcome, stage.partition(":")[0])["facts"]
    assert MOST_ALIKE < facts["left_alone"] <= MOST_ALIKE + 100
    write_report(outcome.store, outcome.record)
    assert "stretches were left alone" in outcome.store.read(REPORT).decode()
