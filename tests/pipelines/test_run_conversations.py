"""Conversations of every shape, from files to the tokens that carry loss, against what the shapes
say of themselves.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from artifacts.paths import Store
from artifacts.schemas import FORMAT_KEY
from mixtures.freeze.freeze import freeze
from mixtures.freeze.pinning import cut, pin
from mixtures.loader.loader import Loader
from mixtures.spec.spec import MixtureSpec, Phase
from pipelines.corpus.chunk import Chunk
from pipelines.datatrove.reader import WindtunnelReader
from pipelines.executors import open_executor
from pipelines.readers import Fields, Span, read
from pipelines.recipe.load import given_recipe
from pipelines.report.explain import explain_document, lines
from pipelines.run.driver import RunOutcome, run_recipe
from pipelines.writers.kept_documents import write_kept
from tests.pipelines.conversation_shapes import (
    ANSWER,
    CALL,
    DROPPED,
    MALFORMED,
    QUESTION,
    SHAPES,
    Shape,
    block,
    said,
)
from tokenizer.chat import TEMPLATE_VERSION
from tokenizer.encode import Tokenizer
from tokenizer.shards.reader import open_source

MARK = {"user": "<User>", "assistant": "<AI>", "system": "<System>", "tool": "<Tool>"}


def rendered(shape: Shape) -> str:
    """The conversation as a model sees it, by the rules of docs/formats.md."""
    text, last = "", ""
    for message in shape.messages:
        body = message["content"]
        for call in json.loads(message.get("tool_calls", "[]")):
            body += ("\n" if body else "") + block(call["function"])
        last = message["role"]
        text += MARK[last] + body + ("</s>" if last == "assistant" else "")
    return text if last == "assistant" else text + "</s>"


def numbered(records: dict[str, Any]) -> list[Any]:
    return [{"id": name, **record} for name, record in records.items()]


def recipe(folder: Path, sources: list[dict[str, Any]], stages: list[Any]) -> Any:
    return given_recipe(
        {
            "name": "chats",
            "corpus": {
                "root": str(folder),
                "sources": [
                    {"id_field": "id", "max_quarantined_share": 1, **source} for source in sources
                ],
                "stages": stages,
            },
            "tokenizer": {"vocab_size": 512},
        }
    )


def write_lines(path: Path, records: list[Any]) -> None:
    plain = b"".join(orjson.dumps(record) + b"\n" for record in records)
    packed = {".zst": zstandard.compress, ".gz": gzip.compress}.get(path.suffix, bytes)
    path.write_bytes(packed(plain))


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> RunOutcome:
    """All shapes as JSON Lines beside what is broken, and again as a table each."""
    folder = tmp_path_factory.mktemp("chats")
    sound = {name: shape.record for name, shape in SHAPES.items()}
    broken = {name: broken.record for name, broken in MALFORMED.items()}
    write_lines(folder / "a.jsonl.zst", numbered(sound))
    write_lines(folder / "b.jsonl.gz", numbered(broken))
    write_lines(folder / "c.jsonl", numbered(DROPPED))
    for row in numbered(sound):
        pq.write_table(pa.Table.from_pylist([row]), folder / f"{row['id']}.parquet")
    prose = " ".join(f"The {word} runs to the sea." for word in ("Rhine", "Glomma", "Po", "Elbe"))
    write_lines(folder / "web.jsonl", [{"id": str(n), "text": f"{n} {prose}"} for n in range(200)])
    sources = [
        {
            "name": "lines",
            "paths": ["*.jsonl.zst", "*.jsonl.gz", "c.jsonl"],
            "messages_field": "auto",
        },
        {"name": "tables", "paths": ["*.parquet"], "messages_field": "auto"},
        {"name": "web", "paths": ["web.jsonl"]},
    ]
    return run_recipe(recipe(folder, sources, ["newlines"]), str(folder / "runs"), until="shards")


def tokenizer_of(outcome: RunOutcome) -> Tokenizer:
    return Tokenizer.load(outcome.store.read(outcome.record["tokenizer"]["file"]["name"]))


def documents(outcome: RunOutcome, source: str) -> dict[bytes, dict[str, Any]]:
    rows = {}
    for entry in outcome.record["chunks"]:
        if entry["source"] == source:
            table = pq.read_table(outcome.store.full(entry["documents"]["name"]))
            rows |= {row["id"]: row for row in table.to_pylist()}
    return rows


@pytest.mark.parametrize("source", ["lines", "tables"])
def test_shards_hold_every_shape_and_its_targets_alone(chats: RunOutcome, source: str) -> None:
    tokenizer, rows = tokenizer_of(chats), documents(chats, source)
    folder = Path(chats.store.full(chats.record["shards"][source]["folder"]))
    seen = set()
    for path in sorted(folder.glob("part-*.arrow")):
        for row in pa.ipc.open_file(pa.memory_map(str(path))).read_all().to_pylist():
            name = rows[row["id"]]["native_id"]
            shape, tokens = SHAPES[name], row["tokens"]
            spans = [tokens[span["start"] : span["end"]] for span in row["trainable"]]
            assert tokenizer.decode_tokens(tokens) == rendered(shape), name
            assert [tokenizer.decode_tokens(span) for span in spans] == [
                f"{target}</s>" for target in shape.targets
            ], name
            seen.add(name)
    assert seen == set(SHAPES)


@pytest.mark.parametrize("name", ["lines", "tables"])
def test_the_loss_of_an_epoch_is_on_the_targets_and_on_nothing_else(
    chats: RunOutcome, name: str
) -> None:
    folder, tokenizer = (
        Path(chats.store.full(chats.record["shards"][name]["folder"])),
        tokenizer_of(chats),
    )
    source, length = open_source(folder), 256  # tokens: longer than any of them
    windows = cut(pin("own", source, "documents", 1), source, length, None, length).windows
    spec = MixtureSpec(
        phases=(Phase(name="all", tokens=windows * length, weights={"own": 1.0}),),
        packing={"own": "documents"},
    )
    plan = freeze(spec, {"own": source}, sequence_length=length, batch_tokens=length, seed=1)
    loader, found = Loader(plan, {"own": folder}), Counter[str]()
    for step in range(plan.steps):
        batch = loader.batch(step)
        for targets, weights in zip(batch.targets, batch.weights, strict=True):
            edges = np.flatnonzero(np.diff(np.r_[0, weights > 0, 0]))
            for start, end in zip(edges[::2], edges[1::2], strict=True):
                found[tokenizer.decode_tokens(targets[start:end].tolist())] += 1
    expected = Counter(f"{target}</s>" for shape in SHAPES.values() for target in shape.targets)
    assert found == expected


def test_what_cannot_be_trained_on_is_counted_by_its_reason(chats: RunOutcome) -> None:
    ledgers = {ledger.step: ledger for ledger in chats.ledgers}
    read = ledgers["read"].sources["lines"]
    reasons = Counter(broken.reason for broken in MALFORMED.values())
    assert {reason: count.documents for reason, count in read.quarantined.items()} == reasons
    dropped = ledgers["conversations"].sources["lines"].dropped
    assert {reason: count.documents for reason, count in dropped.items()} == dict.fromkeys(
        DROPPED, 1
    )
    assert chats.record["shards"]["lines"]["documents"] == len(SHAPES)


def test_explain_says_which_messages_carry_loss(chats: RunOutcome) -> None:
    facts = explain_document(chats.store, chats.record, "lines:weights")
    assert [message["target"] for message in facts["messages"]] == [False, False, False, True]
    shown = "\n".join(lines(facts))
    assert "assistant 10 characters, weight 0, no loss" in shown
    facts = explain_document(chats.store, chats.record, "lines:openai_tools")
    assert "1 tool calls, target" in "\n".join(lines(facts))
    assert "name weather, no loss" in "\n".join(lines(facts))
    assert "messages" not in explain_document(chats.store, chats.record, "web:1")


def test_datatrove_is_given_the_members_a_message_has(chats: RunOutcome) -> None:
    read = WindtunnelReader(chats.store.root, sources=["lines"]).run()
    found = {document.metadata["native_id"]: document.metadata["messages"] for document in read}
    assert found == {name: shape.messages for name, shape in SHAPES.items()}


def test_the_same_conversation_in_two_shapes_is_one_and_other_calls_are_not(tmp_path: Path) -> None:
    again = {"messages": [SHAPES["openai_tools"].record["messages"][0], {
        "role": "assistant", "content": "Let me look.",
        "tool_calls": [{"function": {**CALL, "arguments": '{"city": "Bergen"}'}}],
    }]}  # fmt: skip
    records = {
        "one": SHAPES["messages"].record,
        "two": SHAPES["sharegpt"].record,
        "three": SHAPES["parts"].record,
        "four": again,
        "five": {"messages": [again["messages"][0], {**again["messages"][1], "tool_calls": [
            {"id": "x", "type": "function", "function": CALL}]}]},
        "six": {"messages": [again["messages"][0], {**again["messages"][1], "tool_calls": [
            {"id": "y", "type": "function", "function": CALL}]}]},
    }  # fmt: skip
    write_lines(tmp_path / "a.jsonl", numbered(records))
    made = run_recipe(
        recipe(tmp_path, [{"name": "s", "paths": ["a.jsonl"], "messages_field": "auto"}],
               [{"exact_dedup": {"max_removed_share": 1.0}}]),
        str(tmp_path / "runs"), until="corpus",
    )  # fmt: skip
    table = pq.read_table(made.store.full(made.record["selection"]["s"]["name"]))
    kept = set(table.filter(table["kept"])["id"].to_pylist())
    names = {row["native_id"] for id, row in documents(made, "s").items() if id in kept}
    assert names & {"one", "two", "three"} == {"one"}
    assert "four" in names
    assert len(names & {"five", "six"}) == 1


def test_a_benchmark_question_inside_a_call_is_found(tmp_path: Path) -> None:
    question = "how many apples does the second farmer bring home after selling nine of them"
    call = {"name": "ask", "arguments": json.dumps({"question": question})}
    records = {
        "leak": {"messages": [*said(QUESTION), {"role": "assistant", "content": None,
                                                "tool_calls": [{"function": call}]}]},
        "clean": {"messages": said(QUESTION, ANSWER)},
    }  # fmt: skip
    write_lines(tmp_path / "a.jsonl", numbered(records))
    write_lines(tmp_path / "bench.jsonl", [{"text": question}])
    made = run_recipe(
        recipe(tmp_path, [{"name": "s", "paths": ["a.jsonl"], "messages_field": "messages"}],
               [{"decontaminate": {"against": [str(tmp_path / "bench.jsonl")], "ngrams": 8}}]),
        str(tmp_path / "runs"), until="corpus",
    )  # fmt: skip
    table = pq.read_table(made.store.full(made.record["selection"]["s"]["name"]))
    kept = set(table.filter(table["kept"])["id"].to_pylist())
    assert [row["native_id"] for id, row in documents(made, "s").items() if id in kept] == ["clean"]


def test_a_repeated_key_of_a_plain_conversation_is_quarantined_as_it_was(tmp_path: Path) -> None:
    record = {"id": "same", "messages": said(QUESTION, ANSWER)}
    write_lines(tmp_path / "a.jsonl", [record, record])
    made = run_recipe(
        recipe(tmp_path, [{"name": "s", "paths": ["a.jsonl"], "messages_field": "messages"}], []),
        str(tmp_path / "runs"), until="corpus",
    )  # fmt: skip
    (ref,) = made.record["quarantine"]
    (row,) = pq.read_table(made.store.full(ref["name"])).to_pylist()
    assert orjson.loads(row["raw"])["messages"] == record["messages"]


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_kept_documents_are_read_again_as_the_same_conversations(
    chats: RunOutcome, tmp_path: Path, format: str
) -> None:
    chunks = [
        chunk for chunk in map(Chunk.from_json, chats.record["chunks"]) if chunk.source == "lines"
    ]
    fields = Fields(id_field="id", messages_field="auto")
    out = Store(str(tmp_path))
    files, written = write_kept(
        chats.store, chunks, {"lines": fields}, out, "kept", format, lambda: open_executor(1)
    )
    assert written
    names = fields if format == "jsonl" else Fields(id_field="native_id", messages_field="messages")
    rows = [
        row
        for file in files
        for batch in read(Span(out.full(file.name), file.name), "auto", "lines", names)
        for row in batch.documents.to_pylist()
    ]
    before = documents(chats, "lines")
    assert {row["native_id"] for row in rows} == set(SHAPES)
    for row in rows:
        for name in ("text", "text_hash", "messages"):
            assert row[name] == before[row["id"]][name]
        if format == "jsonl":
            assert row["meta"] == before[row["id"]]["meta"]


def test_documents_without_messages_keep_their_format_and_encoding_its_key(
    chats: RunOutcome,
) -> None:
    for entry in chats.record["chunks"]:
        schema = pq.read_schema(chats.store.full(entry["documents"]["name"]))
        encoded = entry["encoded"]["name"].rsplit("/", 1)[0]
        inputs = orjson.loads(chats.store.read(f"{encoded}/manifest.json"))["inputs"]
        version, template = ("1", None) if entry["source"] == "web" else ("2", TEMPLATE_VERSION)
        assert schema.metadata[FORMAT_KEY].decode() == f"documents/{version}"
        assert inputs.get("template") == template
