"""JSON Lines: every reason with its exact offset, spans that cut nothing, columns that lose
nothing.
"""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from artifacts.ledger import Entry
from artifacts.messages import without_nulls
from artifacts.schemas import DOCUMENTS, INSTRUCTIONS, QUARANTINE
from pipelines.chunks.reading import account
from pipelines.readers import Batch, Fields, Limits, Span, read

NO_FIELDS = Fields()
LIMITS = Limits()
GOOD = b'{"id":"a","text":"good"}'
BY_ID = Fields(id_field="id")
CHAT = Fields(messages_field="messages")


WHOLE: tuple[tuple[int, int | None], ...] = ((0, None),)


def batches(
    path: Path,
    fields: Fields = NO_FIELDS,
    limits: Limits = LIMITS,
    spans: Sequence[tuple[int, int | None]] = WHOLE,
) -> list[Batch]:
    return [
        batch
        for start, end in spans
        for batch in read(Span(str(path), "x.jsonl", start, end), "jsonl", "src", fields, limits)
    ]


def documents(found: list[Batch], schema: pa.Schema = DOCUMENTS) -> pa.Table:
    return pa.Table.from_batches([batch.documents for batch in found], schema).combine_chunks()


def quarantine(found: list[Batch]) -> pa.Table:
    return pa.Table.from_batches([batch.quarantine for batch in found], QUARANTINE).combine_chunks()


def write(folder: Path, lines: list[bytes], end: bytes = b"\n") -> Path:
    path = folder / "x.jsonl"
    path.write_bytes(b"".join(line + end for line in lines))
    return path


BROKEN = [
    (b'{"id":"b","text":"cut', "invalid_json", Fields()),
    (b"not json", "invalid_json", Fields()),
    (b"[" * 5000, "invalid_json", Fields()),
    (b'{"text":"x","deep":' + b"[" * 1010 + b"]" * 1010 + b"}", "invalid_json", Fields()),
    (b'{"id":"b","text":"caf\xe9"}', "invalid_utf8", Fields()),
    (b'{"id":"b"}', "no_text", Fields()),
    (b'{"id":"b","text":null}', "no_text", Fields()),
    (b'{"id":"b","text":""}', "no_text", Fields()),
    (b'{"id":"b","text":" \\n\\t"}', "no_text", Fields()),
    (b'{"id":"b","text":17}', "no_text", Fields()),
    (b'{"id":"b","text":["x"]}', "no_text", Fields()),
    (b'{"id":"b","text":NaN}', "invalid_json", Fields()),
    (b'{"text":"x","n":NaN}', "invalid_json", Fields()),
    (b'{"text":"x","n":[-Infinity]}', "invalid_json", Fields()),
    (b'{"text":"x","n":1e400}', "number_too_large", Fields()),
    (b'{"text":"x","n":' + b"9" * 400 + b"}", "number_too_large", Fields()),
    (b'{"text":"x","n":{"a":-' + b"9" * 5000 + b"}}", "number_too_large", Fields()),
    (b'{"id":' + b"9" * 5000 + b',"text":"x"}', "number_too_large", Fields(id_field="id")),
    (b"[1,2]", "not_an_object", Fields()),
    (b'"text"', "not_an_object", Fields()),
    (b"null", "not_an_object", Fields()),
    (b'{"text":"x"}', "bad_id", BY_ID),
    (b'{"id":null,"text":"x"}', "bad_id", BY_ID),
    (b'{"id":"","text":"x"}', "bad_id", BY_ID),
    (b'{"id":1.5,"text":"x"}', "bad_id", BY_ID),
    (b'{"id":true,"text":"x"}', "bad_id", BY_ID),
    (b'{"id":"b","text":"x\\ud800y"}', "lone_surrogate", Fields()),
    (b'{"id":"b","text":"x","\\udc00":1}', "lone_surrogate", Fields()),
    (b'{"text":"x"}', "bad_messages", CHAT),
    (b'{"messages":"x"}', "bad_messages", CHAT),
    (b'{"messages":[]}', "bad_messages", CHAT),
    (b'{"messages":["x"]}', "bad_messages", CHAT),
    (b'{"messages":[{"role":"user"}]}', "bad_messages", CHAT),
    (b'{"messages":[{"role":1,"content":"x"}]}', "bad_messages", CHAT),
    (b'{"messages":[{"role":"user","content":null}]}', "bad_messages", CHAT),
    (
        b'{"messages":[{"role":"user","content":""},{"role":"assistant","content":" "}]}',
        "bad_messages",
        CHAT,
    ),
]


@pytest.mark.parametrize(("broken", "reason", "fields"), BROKEN)
def test_a_broken_line_is_quarantined_with_offset_length_reason_and_raw_bytes(
    tmp_path: Path, broken: bytes, reason: str, fields: Fields
) -> None:
    good = b'{"messages":[{"role":"user","content":"good"}]}' if fields is CHAT else GOOD
    found = batches(write(tmp_path, [good, broken, good.replace(b'"a"', b'"c"')]), fields)
    assert [batch.records for batch in found] == [3]
    assert documents(found, INSTRUCTIONS if fields is CHAT else DOCUMENTS)[
        "offset"
    ].to_pylist() == [0, len(good) + len(broken) + 2]
    (row,) = quarantine(found).to_pylist()
    assert (row["source"], row["path"], row["reason"]) == ("src", "x.jsonl", reason)
    assert (row["offset"], row["length"], row["raw"]) == (len(good) + 1, len(broken), broken)
    assert row["detail"]


def test_a_record_with_messages_but_no_text_is_told_about_messages_field(tmp_path: Path) -> None:
    found = quarantine(
        batches(write(tmp_path, [b'{"messages":[{"role":"user","content":"x"}]}']))
    ).to_pylist()
    assert "messages_field" in found[0]["detail"]


def test_columns_ids_and_hashes_of_a_record(tmp_path: Path) -> None:
    text = "t\u00e9xt\x00\ufeff"
    labels = {"url": "u", "lang": "fr", "license": "l", "date": "2020"}
    record = {"id": 7, "text": text, **labels, "b": 2, "a": [1], "meta": {"k": None}}
    (row,) = documents(batches(write(tmp_path, [orjson.dumps(record)]), BY_ID)).to_pylist()
    assert row["id"] == xxhash.xxh3_128_digest(b"src\0n\0" + b"7")
    assert row["text_hash"] == xxhash.xxh3_128_digest(text.encode())
    kept = ("native_id", "text", "source", "lang", "url", "license", "date", "path", "offset")
    assert tuple(row[name] for name in kept) == (
        "7",
        text,
        "src",
        "fr",
        "u",
        "l",
        "2020",
        "x.jsonl",
        0,
    )
    assert row["meta"] == '{"a":[1],"b":2,"k":null}'


def test_a_record_without_an_id_is_known_by_its_place(tmp_path: Path) -> None:
    rows = documents(batches(write(tmp_path, [GOOD, GOOD]))).to_pylist()
    assert [row["native_id"] for row in rows] == [None, None]
    assert rows[1]["id"] == xxhash.xxh3_128_digest(
        b"src\0p\0x.jsonl\0" + str(len(GOOD) + 1).encode()
    )


def test_defaults_fill_lang_and_license_only_where_the_record_has_none(tmp_path: Path) -> None:
    path = write(tmp_path, [b'{"text":"x"}', b'{"text":"y","lang":"zh","license":3}'])
    rows = documents(batches(path, Fields(lang="en", license="CC0"))).to_pylist()
    assert [(row["lang"], row["license"], row["meta"]) for row in rows] == [
        ("en", "CC0", None),
        ("zh", None, '{"license":3}'),
    ]


def test_other_field_names_fill_the_columns(tmp_path: Path) -> None:
    fields = Fields(
        id_field="key",
        text_field="body",
        url_field="link",
        lang_field="tongue",
        date_field="when",
        license_field="terms",
    )
    line = b'{"key":"k","body":"b","link":"l","tongue":"t","when":"w","terms":"c","text":"other"}'
    (row,) = documents(batches(write(tmp_path, [line]), fields)).to_pylist()
    assert [row[name] for name in ("native_id", "text", "url", "lang", "date", "license")] == [
        "k",
        "b",
        "l",
        "t",
        "w",
        "c",
    ]
    assert row["meta"] == '{"text":"other"}'


@pytest.mark.parametrize(
    ("line", "meta"),
    [
        (
            b'{"text":"x","source":"s","meta":{"source":"inner","v":1}}',
            {"source": "s", "v": 1, "meta": {"source": "inner"}},
        ),
        (b'{"text":"x","meta":{"meta":1}}', {"meta": {"meta": 1}}),
        (
            b'{"text":"x","meta":{"text":"inner","url":"u","v":1}}',
            {"v": 1, "meta": {"text": "inner", "url": "u"}},
        ),
        (b'{"text":"x","meta":"plain"}', {"meta": "plain"}),
        (b'{"text":"x","meta":{}}', None),
        (
            b'{"text":"x","n":0.1234567890123456789012,"big":' + b"9" * 40 + b"}",
            {"n": 0.12345678901234568, "big": int("9" * 40)},
        ),
        (
            b'{"text":"x","deep":' + b"[" * 300 + b"]" * 300 + b"}",
            {"deep": json.loads("[" * 300 + "]" * 300)},
        ),
    ],
)
def test_meta_keeps_every_field_that_fills_no_column(
    tmp_path: Path, line: bytes, meta: object
) -> None:
    (row,) = documents(batches(write(tmp_path, [line]))).to_pylist()
    assert (None if row["meta"] is None else json.loads(row["meta"])) == meta


@pytest.mark.parametrize(
    "digits",
    [
        b"9223372036854775807",
        b"9223372036854775808",
        b"-9223372036854775808",
        b"-9223372036854775809",
        b"18446744073709551615",
        b"18446744073709551616",
        b"123456789012345678901234567890",
        b"-" + b"9" * 308,
    ],
)
@pytest.mark.parametrize(
    "record",
    [
        b'{"text":"x","big":%s}',
        b'{"text":"x","in":{"big":%s}}',
        b'{"text":"x","in":["\\"1",{"big":%s}]}',
        b'{"text":"x","big":%s,"lang":5}',
        b'{"text":"x","big":%s,"text":"y"}',
        b'{"text":"x","meta":{"big":%s}}',
        b'{"messages":[{"role":"user","content":"x"}],"big":%s}',
    ],
)
def test_an_integer_keeps_its_digits_wherever_it_stands(
    tmp_path: Path, record: bytes, digits: bytes
) -> None:
    fields = Fields(messages_field="messages" if b"messages" in record else None)
    found = batches(write(tmp_path, [record % b"1", record % digits, record % b"2"]), fields)
    schema = INSTRUCTIONS if fields.messages_field else DOCUMENTS
    metas = documents(found, schema).column("meta").to_pylist()
    assert len(metas) == 3
    assert f'"big":{digits.decode()}' in metas[1]


def test_digits_in_strings_and_fractions_are_no_integers(tmp_path: Path) -> None:
    line = b'{"text":"x","a":{"s":"99999999999999999999999","f":0.' + b"1" * 30 + b"}}"
    (row,) = documents(batches(write(tmp_path, [line]))).to_pylist()
    assert row["meta"] == '{"a":{"f":0.1111111111111111,"s":"99999999999999999999999"}}'


def test_an_id_beyond_64_bits_keeps_its_digits(tmp_path: Path) -> None:
    digits = "123456789012345678901234567890"
    lines = [b'{"id":1,"text":"a"}', b'{"id":%s,"text":"b"}' % digits.encode()]
    rows = documents(batches(write(tmp_path, lines), Fields(id_field="id"))).to_pylist()
    assert [row["native_id"] for row in rows] == ["1", digits]


@pytest.mark.parametrize("mixed", [False, True])
def test_very_many_bad_lines_are_counted_together(tmp_path: Path, mixed: bool) -> None:
    unended = b"{" + b" " * 60
    kinds = [unended, b"[]", b"", b'{"text":1}'] if mixed else [unended]
    lines = [b'{"text":"first"}', *kinds * (100_000 // len(kinds)), b'{"text":"last"}']
    path = write(tmp_path, lines)
    whole = batches(path)
    entry = Entry()
    for batch in whole:
        account(entry, batch)
    entry.check("read", "src")
    bad = quarantine(whole).to_pylist()
    assert len(bad) <= 4 * (path.stat().st_size // (1 << 20) + 1)
    assert "lines up to byte" in bad[0]["detail"]
    assert sum(row["length"] for row in bad) == sum(
        len(line) for line in lines if line and b'"text":"' not in line
    )
    starts = range(0, path.stat().st_size, 1 << 20)
    cut = batches(path, spans=[(start, start + (1 << 20)) for start in starts])
    assert quarantine(cut).to_pylist() == bad
    assert documents(cut).equals(documents(whole))


def test_few_bad_lines_are_quarantined_one_by_one(tmp_path: Path) -> None:
    bad = quarantine(batches(write(tmp_path, [b"{"] * 1000))).to_pylist()
    assert [row["offset"] for row in bad] == list(range(0, 2000, 2))


@pytest.mark.parametrize("blank", [b"", b" \t", b"\r"])
@pytest.mark.parametrize("stretch", [1, 63, 64, 1000])
def test_blank_lines_are_counted_wherever_they_stand(
    tmp_path: Path, blank: bytes, stretch: int
) -> None:
    lines = [blank] * stretch
    path = write(tmp_path, [*lines, b'{"text":"a"}', *lines, b"{", *lines, b'{"text":"b"}', *lines])
    found = batches(path)
    assert documents(found)["text"].to_pylist() == ["a", "b"]
    assert quarantine(found)["reason"].to_pylist() == ["invalid_json"]
    assert sum(batch.blank for batch in found) == 4 * stretch
    assert sum(batch.bytes for batch in found) == path.stat().st_size


ODD = [
    b'{"text":"odd","lang":5}',
    '{"text":"Привет мир"}'.encode(),
    b'{"text":"a","text":"b"}',
    b'{"text":""}',
    b'{"text":"x","a\\tb":1}',
]


@pytest.mark.slow
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("between", [1, 5, 40, 100])
def test_usual_and_unusual_lines_in_turn_are_read_as_each_is_alone(
    tmp_path: Path, odd: bytes, between: int
) -> None:
    lines = [
        odd
        if number % (between + 1) == between
        else b'{"text":"plain line %d.","k":%d}' % (number, number)
        for number in range(500)
    ]
    path = write(tmp_path, lines)
    found = batches(path)
    begun, alone = 0, []
    for line in lines:
        alone += batches(path, spans=[(begun, begun + len(line) + 1)])
        begun += len(line) + 1
    assert documents(found).equals(documents(alone))
    assert quarantine(found).equals(quarantine(alone))


def test_lines_that_take_turns_take_no_more_memory_than_lines_that_do_not(tmp_path: Path) -> None:
    usual, odd = b'{"text":"plain line 1.","k":1}', b'{"text":"plain line 1.","lang":5}'
    sizes = []
    for lines in ([odd] * 20_000, [usual, odd] * 10_000):
        path = write(tmp_path, lines)
        tracemalloc.start()
        before = pa.total_allocated_bytes()
        held = batches(path)
        sizes.append(tracemalloc.get_traced_memory()[1] + pa.total_allocated_bytes() - before)
        tracemalloc.stop()
        del held
    assert sizes[1] < 1.5 * sizes[0]


def test_a_conversation_becomes_messages_and_their_contents_the_text(tmp_path: Path) -> None:
    messages: list[dict[str, object]] = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "", "calls": [1]},
        {"role": "tool", "content": "r"},
    ]
    line = orjson.dumps({"messages": messages, "text": "kept"})
    (row,) = documents(batches(write(tmp_path, [line]), CHAT), INSTRUCTIONS).to_pylist()
    assert row["text"] == "q\n\n\n\nr"
    assert without_nulls(row["messages"]) == [
        {"role": message["role"], "content": message["content"]} for message in messages
    ]
    assert json.loads(row["meta"]) == {"text": "kept", "message_fields": [{}, {"calls": [1]}, {}]}


def test_line_ends_blank_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD + b"\r\n\r\n  \n" + GOOD)
    (batch,) = batches(path)
    assert (batch.records, batch.blank, batch.bytes) == (2, 2, path.stat().st_size)
    assert batch.documents["offset"].to_pylist() == [0, len(GOOD) + 10]
    assert batch.documents["text"].to_pylist() == ["good", "good"]


def test_a_byte_order_mark_inside_the_file_is_an_error_of_that_line(tmp_path: Path) -> None:
    found = quarantine(batches(write(tmp_path, [GOOD, b"\xef\xbb\xbf" + GOOD]))).to_pylist()
    assert [(row["reason"], row["offset"]) for row in found] == [("invalid_json", len(GOOD) + 1)]


def test_an_empty_file_gives_nothing(tmp_path: Path) -> None:
    assert batches(write(tmp_path, [])) == []


def test_quarantine_keeps_a_bounded_head_and_the_true_length(tmp_path: Path) -> None:
    (row,) = quarantine(
        batches(write(tmp_path, [b"x" * 5000]), limits=Limits(quarantine_bytes=100))
    ).to_pylist()
    assert (row["length"], row["raw"]) == (5000, b"x" * 100)


def test_a_line_over_the_limit_is_refused_however_much_of_it_quarantine_would_hold(
    tmp_path: Path,
) -> None:
    limits = Limits(record_bytes=len(GOOD), quarantine_bytes=1 << 20)
    found = batches(write(tmp_path, [GOOD + b" ", GOOD, b" " * (len(GOOD) + 1)]), limits=limits)
    assert documents(found).num_rows == 1
    assert [row["reason"] for row in quarantine(found).to_pylist()] == [
        "line_too_long",
        "line_too_long",
    ]


def test_a_line_just_at_the_limit_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    limits = Limits(record_bytes=len(GOOD), quarantine_bytes=5)
    found = batches(write(tmp_path, [GOOD, GOOD + b" ", GOOD]), limits=limits)
    assert documents(found).num_rows == 2
    (row,) = quarantine(found).to_pylist()
    assert (row["reason"], row["offset"], row["length"], row["raw"]) == (
        "line_too_long",
        len(GOOD) + 1,
        len(GOOD) + 1,
        GOOD[:5],
    )


def test_a_huge_line_is_passed_over_without_being_held(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    length = 50 << 20
    with path.open("wb") as file:
        file.write(GOOD + b"\n")
        for _ in range(50):
            file.write(b"y" * (1 << 20))
        file.write(b"\n" + GOOD + b"\n")
    tracemalloc.start()
    found = batches(path, limits=Limits(record_bytes=4 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20
    (row,) = quarantine(found).to_pylist()
    assert (row["reason"], row["offset"], row["length"], len(row["raw"])) == (
        "line_too_long",
        len(GOOD) + 1,
        length,
        64 * 1024,
    )
    assert documents(found)["offset"].to_pylist() == [0, len(GOOD) + length + 2]


def test_batches_are_bounded_by_bytes_and_lose_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, [b'{"text":"%d"}' % number for number in range(100)])
    found = batches(path, limits=Limits(batch_bytes=100))
    assert len(found) > 5
    assert all(batch.bytes < 120 for batch in found)
    assert documents(found)["text"].to_pylist() == [str(number) for number in range(100)]
    assert sum(batch.bytes for batch in found) == path.stat().st_size


LINES = st.one_of(
    st.text(max_size=30).map(lambda text: orjson.dumps({"text": text})),
    st.sampled_from(
        [
            b"",
            b"\r",
            b"  ",
            b"{",
            b"\xff",
            b"[]",
            b'{"text":1}',
            b'{"text":"\\ud800"}',
            b'{"text":"' + b"l" * 60 + b'"}',
        ]
    ),
)


@settings(max_examples=150, deadline=None)
@given(lines=st.lists(LINES, max_size=12), newline_at_end=st.booleans(), cut=st.integers(1, 90))
def test_cutting_a_file_into_spans_of_any_length_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], newline_at_end: bool, cut: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.jsonl"
    content = b"\n".join(lines) + (b"\n" if newline_at_end else b"")
    path.write_bytes(content)
    limits = Limits(record_bytes=50, quarantine_bytes=20)
    whole = batches(path, limits=limits)
    starts = range(0, max(1, len(content)), cut)
    cuts = batches(path, limits=limits, spans=[(start, start + cut) for start in starts])
    assert documents(cuts).equals(documents(whole))
    assert quarantine(cuts).equals(quarantine(whole))
    assert sum(batch.blank for batch in cuts) == sum(batch.blank for batch in whole)
    assert sum(batch.records for batch in cuts) == sum(batch.records for batch in whole)
    assert sum(batch.bytes for batch in cuts) == sum(batch.bytes for batch in whole) == len(content)


def test_documents_and_quarantine_carry_the_schemas_of_the_house(tmp_path: Path) -> None:
    (batch,) = batches(write(tmp_path, [GOOD, b"{"]))
    assert batch.documents.schema.equals(DOCUMENTS, check_metadata=True)
    assert batch.quarantine.schema.equals(QUARANTINE, check_metadata=True)
    batch.documents.validate(full=True)
    batch.quarantine.validate(full=True)


def test_a_missing_file_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        batches(tmp_path / "none.jsonl")


def test_an_unknown_format_names_the_allowed_ones() -> None:
    with pytest.raises(UserError, match="nearest: jsonl"):
        list(read(Span("/x", "x"), "json", "src"))


def test_a_batch_whose_counts_do_not_balance_is_refused(tmp_path: Path) -> None:
    (batch,) = batches(write(tmp_path, [GOOD]))
    with pytest.raises(RuntimeError, match="lost records"):
        Batch(batch.documents, batch.quarantine, 2, 0, 0)
