"""Every shape of a conversation, and what is wrong with those that are none."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from artifacts.ids import conversation_hashes
from artifacts.messages import without_nulls
from artifacts.schemas import INSTRUCTIONS, MESSAGES, check_format
from pipelines.deduplicate.files import dedup_files
from pipelines.readers import Batch, Fields, Span, discover, read
from pipelines.readers.rows.records import RecordRejectedError, Row, row_of
from pipelines.readers.source_fields import check_records
from tests.pipelines.conversation_shapes import (
    ANSWER,
    CALL,
    DROPPED,
    MALFORMED,
    QUESTION,
    SHAPES,
    Broken,
    Shape,
    block,
    calls,
    said,
)
from tokenizer.chat import problems

AUTO = Fields(messages_field="auto")


def jsonl(folder: Path, records: list[Any]) -> Path:
    path = folder / "a.jsonl"
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    return path


def gzipped(folder: Path, records: list[Any]) -> Path:
    path = folder / "a.jsonl.gz"
    path.write_bytes(gzip.compress(jsonl(folder, records).read_bytes()))
    return path


def zstd(folder: Path, records: list[Any]) -> Path:
    path = folder / "a.jsonl.zst"
    path.write_bytes(zstandard.compress(jsonl(folder, records).read_bytes()))
    return path


def parquet(folder: Path, records: list[Any]) -> Path:
    path = folder / "a.parquet"
    pq.write_table(pa.Table.from_pylist(records), path, compression="zstd")
    return path


def batch(path: Path, fields: Fields) -> Batch:
    (found,) = read(Span(str(path), path.name), "auto", "s", fields)
    return found


@pytest.mark.parametrize("write", [jsonl, gzipped, zstd, parquet])
@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_becomes_its_messages(tmp_path: Path, name: str, write: Any) -> None:
    shape = SHAPES[name]
    found = batch(write(tmp_path, [shape.record]), Fields(messages_field=shape.messages_field))
    assert not found.quarantine.num_rows, found.quarantine.to_pylist()
    assert found.documents.schema.equals(INSTRUCTIONS, check_metadata=True)
    (row,) = found.documents.to_pylist()
    assert without_nulls(row["messages"]) == shape.messages
    if write is not parquet:  # whose structs have every member in every message
        assert orjson.loads(row["meta"] or "{}") == shape.meta


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_recognised_where_another_field_is_named(tmp_path: Path, name: str) -> None:
    found = batch(jsonl(tmp_path, [SHAPES[name].record]), Fields(messages_field="chats"))
    (row,) = found.documents.to_pylist()
    assert without_nulls(row["messages"]) == SHAPES[name].messages


def test_all_shapes_may_stand_in_one_file(tmp_path: Path) -> None:
    records = [shape.record for shape in SHAPES.values()]
    found = batch(jsonl(tmp_path, records), AUTO)
    rows = [without_nulls(messages) for messages in found.documents["messages"].to_pylist()]
    assert rows == [shape.messages for shape in SHAPES.values()]
    assert problems(found.documents["messages"]).null_count == len(records)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=[*SHAPES])
def test_the_text_is_what_the_messages_say_calls_included(tmp_path: Path, shape: Shape) -> None:
    (text,) = batch(jsonl(tmp_path, [shape.record]), AUTO).documents["text"].to_pylist()
    assert all(target in text for target in shape.targets)
    assert all(message["content"] in text for message in shape.messages)
    assert text.count("<tool_call>") == sum(
        orjson.loads(message["tool_calls"]).__len__()
        for message in shape.messages
        if "tool_calls" in message
    )


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_conversation_is_quarantined_with_its_reason(tmp_path: Path, name: str) -> None:
    broken: Broken = MALFORMED[name]
    good = SHAPES["messages"].record
    found = batch(jsonl(tmp_path, [good, broken.record, good]), AUTO)
    (row,) = found.quarantine.to_pylist()
    assert row["reason"] == broken.reason
    assert broken.detail in row["detail"]
    assert orjson.loads(row["raw"]) == broken.record
    assert found.documents.num_rows == 2


@pytest.mark.parametrize(
    "name",
    ["from_without_value", "weight_a_string", "image_part", "unknown_part", "call_of_another_type"],
)
def test_a_bad_row_of_parquet_is_quarantined_whole(tmp_path: Path, name: str) -> None:
    broken = MALFORMED[name]
    path = parquet(tmp_path, [broken.record])
    schema = pq.read_schema(path)
    if name == "from_without_value":  # a column of values there must be
        kind = pa.list_(pa.struct({"from": pa.string(), "value": pa.string()}))
        pq.write_table(
            pa.table({"conversations": pa.array([broken.record["conversations"]], kind)}), path
        )
    found = batch(path, AUTO)
    (row,) = found.quarantine.to_pylist()
    assert row["reason"] == broken.reason
    whole = orjson.loads(row["raw"])
    (name_of_list,) = schema.names
    assert len(whole[name_of_list]) == len(broken.record[name_of_list])
    for found_message, message in zip(
        whole[name_of_list], broken.record[name_of_list], strict=True
    ):
        role = "from" if "from" in message else "role"
        assert found_message[role] == message[role]


@pytest.mark.parametrize("reason", DROPPED)
def test_a_conversation_without_loss_is_read_and_has_its_reason(
    tmp_path: Path, reason: str
) -> None:
    found = batch(jsonl(tmp_path, [DROPPED[reason]]), AUTO)
    assert problems(found.documents["messages"]).to_pylist() == [reason]


@pytest.mark.parametrize(
    ("record", "setting"),
    [
        ({"messages": said(QUESTION)}, "messages_field: messages"),
        (SHAPES["sharegpt"].record, "messages_field: conversations"),
        (SHAPES["alpaca"].record, "messages_field: instruction"),
    ],
)
def test_a_conversation_in_a_source_of_texts_names_the_setting(
    tmp_path: Path, record: dict[str, Any], setting: str
) -> None:
    path = jsonl(tmp_path, [record])
    (row,) = batch(path, Fields()).quarantine.to_pylist()
    assert row["reason"] == "no_text"
    assert row["detail"].endswith(f"set {setting}")
    with pytest.raises(UserError) as refused:
        batch(parquet(tmp_path, [record]), Fields())
    assert refused.value.fix == f"set {setting}"
    with pytest.raises(UserError) as asked:
        check_records(discover("s", [str(path)]), Fields())
    assert setting in str(asked.value.fix)
    for file in (path, tmp_path / "a.parquet"):
        with pytest.raises(UserError) as refused:
            dedup_files([str(file)], str(tmp_path / "out"))
        assert "messages_field" in str(refused.value.fix)


def test_a_column_of_another_type_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    for column in (
        [["x"]],
        [[{"role": "user", "content": 4}]],
        [[{"speaker": "x", "content": "y"}]],
    ):
        with pytest.raises(UserError, match="another type") as refused:
            batch(parquet(tmp_path, [{"messages": column[0]}]), Fields(messages_field="messages"))
        assert "list<struct<from: string, value: string>>" in str(refused.value)


def test_a_file_with_two_lists_and_none_named_is_refused(tmp_path: Path) -> None:
    record = {"messages": said(QUESTION), "conversations": [{"from": "human", "value": "x"}]}
    with pytest.raises(UserError, match="missing"):
        batch(parquet(tmp_path, [record]), AUTO)


def test_arguments_that_other_calls_have_are_not_read_as_nulls(tmp_path: Path) -> None:
    def calling(name: str, **arguments: Any) -> dict[str, Any]:
        call = {"type": "function", "function": {"name": name, "arguments": arguments}}
        return {
            "messages": [
                *said(QUESTION),
                {"role": "assistant", "content": None, "tool_calls": [call]},
            ]
        }

    records = [calling("weather", city="Oslo"), calling("time", zone={"hours": 1})]
    found = batch(parquet(tmp_path, records), AUTO).documents["messages"].to_pylist()
    assert [messages[1]["tool_calls"] for messages in found] == [
        calls({"name": "weather", "arguments": '{"city": "Oslo"}'}),
        calls({"name": "time", "arguments": '{"zone": {"hours": 1}}'}),
    ]


def test_documents_that_were_written_are_read_again(tmp_path: Path) -> None:
    records = [shape.record for shape in SHAPES.values()]
    first = batch(jsonl(tmp_path, records), AUTO)
    path = tmp_path / "kept.parquet"
    pq.write_table(pa.table({"messages": first.documents["messages"]}), path)
    again = batch(path, Fields(messages_field="messages"))
    assert again.documents["messages"].equals(first.documents["messages"])
    assert again.documents["text_hash"].equals(first.documents["text_hash"])


@pytest.mark.parametrize(
    ("arguments", "spoken"),
    [
        ('{"a":1}', '{"a":1}'),
        ({"a": 1, "b": ["å"]}, '{"a": 1, "b": ["å"]}'),
        ("", "{}"),
        (None, "{}"),
        ("not JSON </tool_call>", '"not JSON </tool_call>"'),
    ],
)
def test_arguments_are_always_json_in_the_text(tmp_path: Path, arguments: Any, spoken: str) -> None:
    call = {"function": {"name": 'a"b', "arguments": arguments}}
    record = {"messages": [*said(QUESTION), {"role": "assistant", "tool_calls": [call]}]}
    (text,) = batch(jsonl(tmp_path, [record]), AUTO).documents["text"].to_pylist()
    body = text.split("<tool_call>\n")[1].removesuffix("\n</tool_call>")
    assert body == f'{{"name": "a\\"b", "arguments": {spoken}}}'
    assert orjson.loads(body)["name"] == 'a"b'


def test_deeply_nested_arguments_are_refused_not_a_traceback(tmp_path: Path) -> None:
    nested = b'{"a":' * 900 + b"1" + b"}" * 900
    line = (
        b'{"messages":[{"role":"assistant","content":null,"tool_calls":[{"function":'
        b'{"name":"f","arguments":' + nested + b"}}]}]}"
    )
    path = tmp_path / "a.jsonl"
    path.write_bytes(line + b"\n")
    found = batch(path, AUTO)
    assert found.documents.num_rows + found.quarantine.num_rows == 1


# -- hashes -------------------------------------------------------------------------------------

PLAIN = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "assistant"]),
            "content": st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        }
    ),
    min_size=1,
    max_size=3,
)
OLD = pa.list_(pa.struct([pa.field("role", pa.string()), pa.field("content", pa.large_string())]))


@settings(deadline=None)
@given(PLAIN)
def test_a_plain_conversation_has_the_hash_it_had(messages: list[dict[str, str]]) -> None:
    import xxhash

    digest = xxhash.xxh3_128()
    for message in messages:
        content = message["content"].encode()
        digest.update(message["role"].encode() + b"\0%d\0" % len(content) + content)
    for kind in (OLD, MESSAGES):
        assert conversation_hashes(pa.array([messages], kind))[0].as_py() == digest.digest()
    weighted = [{**message, "weight": 1.0} for message in messages]
    assert conversation_hashes(pa.array([weighted], MESSAGES))[0].as_py() == digest.digest()


def test_weight_calls_and_name_each_make_another_hash() -> None:
    plain = said(QUESTION, ANSWER)
    talks = [
        plain,
        [plain[0], {**plain[1], "weight": 0.0}],
        [plain[0], {**plain[1], "weight": 0.5}],
        [{**plain[0], "weight": 0.0}, plain[1]],
        [plain[0], {**plain[1], "tool_calls": calls(CALL)}],
        [plain[0], {**plain[1], "name": "a"}],
        [plain[0], {**plain[1], "name": ""}],
        [plain[0], {**plain[1], "content": f"{ANSWER[1]}\n{block(CALL)}"}],
    ]
    hashes = conversation_hashes(pa.array(talks, MESSAGES)).to_pylist()
    assert len(set(hashes)) == len(talks)


def test_documents_of_both_versions_are_read() -> None:
    for version in (1, 2):
        schema = pa.schema([], metadata={b"windtunnel.format": f"documents/{version}".encode()})
        check_format(schema, "documents", "a.parquet")


# -- whatever a record holds --------------------------------------------------------------------

NAMES = st.sampled_from(
    [
        "role",
        "content",
        "from",
        "value",
        "weight",
        "tool_calls",
        "function_call",
        "name",
        "type",
        "text",
        "function",
        "arguments",
        "image",
        "images",
        "tool_call_id",
        "id",
    ]
)
WORDS = st.sampled_from(
    ["user", "assistant", "human", "gpt", "tool", "function_call", "text", "image", "", " ", "x",
     "{}", "[]", '{"name":"f","arguments":{}}', "<image>"]
)  # fmt: skip
ATOMS = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.floats(allow_nan=False, width=16), WORDS
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=5,
)
MESSAGE = st.one_of(
    VALUES,
    st.fixed_dictionaries(
        {"role": WORDS, "content": VALUES},
        optional={"weight": ATOMS, "tool_calls": VALUES, "function_call": VALUES, "name": ATOMS},
    ),
    st.fixed_dictionaries({"from": WORDS, "value": WORDS}, optional={"weight": ATOMS}),
)
RECORD = st.one_of(
    st.fixed_dictionaries(
        {}, optional={"messages": VALUES, "conversations": VALUES, "instruction": VALUES,
                      "input": VALUES, "output": VALUES, "history": VALUES, "system": VALUES,
                      "image": ATOMS, "message_fields": ATOMS}
    ),
    st.fixed_dictionaries({"messages": st.lists(MESSAGE, min_size=1, max_size=4)}),
    st.fixed_dictionaries(
        {"conversations": st.lists(MESSAGE, min_size=1, max_size=3)}, optional={"system": ATOMS}
    ),
)  # fmt: skip


def read_or_rejected(record: dict[str, Any]) -> Row | RecordRejectedError:
    try:
        return row_of(record, AUTO)
    except RecordRejectedError as rejection:
        return rejection


@settings(deadline=None, max_examples=400)
@given(record=RECORD)
def test_a_record_is_a_conversation_or_rejected_and_stays_whole(record: dict[str, Any]) -> None:
    row = read_or_rejected(orjson.loads(orjson.dumps(record)))
    if isinstance(row, RecordRejectedError):
        assert row.reason in {"bad_messages", "content_not_text", "unwanted_answer"}
        assert row.detail
        return
    assert row.messages is not None
    assert len(row.messages.roles) == len(row.messages.contents) > 0
    assert all(content in row.text for content in row.messages.contents)
    for place, members in row.messages.members.items():
        assert members.weight is None or members.weight >= 0
        if members.tool_calls is not None:
            assert row.messages.roles[place] == "assistant"
            for call in orjson.loads(members.tool_calls):
                assert orjson.dumps(call["function"]["name"]).decode() in row.text
    if row.meta is not None:
        orjson.loads(row.meta)


@settings(deadline=None, max_examples=200)
@given(record=RECORD)
def test_reading_leaves_the_messages_of_a_record_as_they_are(record: dict[str, Any]) -> None:
    """So that quarantine holds the whole row of a table."""
    before = orjson.dumps(record)
    read_or_rejected(dict(record))
    assert orjson.dumps(record) == before
