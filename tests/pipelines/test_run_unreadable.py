"""Sources that cannot be read stop a run; files of which a part is gone, and sources of which
nothing is left, are said aloud.
"""

from __future__ import annotations

import gzip
import json
import random
import string
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from pipelines.chunks.lost_files import SpanDamage, lost_file
from pipelines.deduplicate.files import dedup_files
from pipelines.executors.progress import Silent
from pipelines.readers import Fields, Limits, Span, read
from pipelines.recipe.load import given_recipe
from pipelines.report.losses import warnings
from pipelines.report.page import write_report
from pipelines.run.driver import RunOutcome, run_recipe
from pipelines.run.record import load_run
from pipelines.run.train_only import check_shards_are_of
from pipelines.run.work_plan import plan_corpus
from pipelines.training.materials import Materials
from pipelines.training.plans import plan_mixture


class Heard(Silent):
    """Progress that keeps its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def lines(path: Path, records: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def words(number: int, count: int = 60) -> str:
    drawn = random.Random(number)
    others = ["".join(drawn.choices(string.ascii_lowercase, k=6)) for _ in range(8)]
    return " ".join(drawn.choices(["the", "of", "and", "to", *others], k=count))


def recipe(folder: Path, stages: list[Any] | None = None, **source: Any) -> Any:
    values: dict[str, Any] = {
        "name": "judged",
        "corpus": {
            "sources": [{"name": "web", "paths": ["web/*"], **source}],
            "stages": stages or [],
            "chunk_mib": 1 / 1024,
        },
    }
    return given_recipe(values, folder)


def run(folder: Path, loaded: Any, heard: Heard | None = None, workers: int = 1) -> RunOutcome:
    return run_recipe(loaded, str(folder / "runs"), until="corpus", progress=heard, workers=workers)


def test_a_source_of_which_over_half_is_quarantined_stops_the_run(tmp_path: Path) -> None:
    good = [{"text": words(number)} for number in range(19)]
    lines(tmp_path / "web" / "a.jsonl", [*good, {"body": "b"}, *([{"text": 5}] * 20)])
    with pytest.raises(UserError) as raised:
        run(tmp_path, recipe(tmp_path))
    said = str(raised.value)
    assert "21 of its 40 records are quarantined, 21 of them as no_text" in said
    assert f"{tmp_path}/web/a.jsonl at " in said
    assert '{"body": "b"}' in said
    assert raised.value.field == "corpus.sources[0].max_quarantined_share"
    assert "max_quarantined_share" in (raised.value.fix or "")
    store, record = load_run(str(tmp_path / "runs"), "judged")
    assert record["reached"] == "read"
    assert sum(file["rows"] for file in record["quarantine"]) == 21
    assert store.exists(write_report(store, record))
    again = run(tmp_path, recipe(tmp_path, max_quarantined_share=0.6))
    assert again.ledgers[0].computed == 0, "what was read is not read again"
    assert again.ledgers[0].total().kept.documents == 19


@pytest.mark.parametrize(
    ("good", "bad", "share", "stops"),
    [
        (0, 19, 0.5, False),  # too few
        (20, 20, 0.5, False),  # half, not over half
        (19, 20, 0.5, True),
        (980, 20, 0.01, True),
        (980, 20, 0.02, False),
        (1, 400, 1.0, False),
    ],
)
def test_both_bounds_are_exact(
    tmp_path: Path, good: int, bad: int, share: float, stops: bool
) -> None:
    lines(tmp_path / "web" / "a.jsonl", [*([3] * bad), *({"text": words(n)} for n in range(good))])
    lines(tmp_path / "other.jsonl", [{"text": words(1)}])
    loaded = given_recipe(
        {
            "name": "judged",
            "corpus": {
                "sources": [
                    {"name": "other", "paths": ["other.jsonl"]},
                    {"name": "web", "paths": ["web/*"], "max_quarantined_share": share},
                ]
            },
        },
        tmp_path,
    )
    if not stops:
        assert run(tmp_path, loaded).ledgers[0].total().kept.documents == good + 1
        return
    with pytest.raises(UserError, match=f"{bad:,} of its {good + bad:,} records"):
        run(tmp_path, loaded)


def test_equal_keys_count_and_what_is_left_out_by_kind_does_not(tmp_path: Path) -> None:
    lines(tmp_path / "web" / "a.jsonl", [{"text": words(n), "kind": "page"} for n in range(40)])
    with pytest.raises(UserError, match="39 of its 40 records are quarantined, 39 of them as dup"):
        run(tmp_path, recipe(tmp_path, id_field="kind"))
    request = b"WARC/1.0\r\nWARC-Type: request\r\nContent-Length: 3\r\n\r\nGET\r\n\r\n"
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>" + words(3).encode() + b"</p>"
    response = (
        b"WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http\r\n"
        b"Content-Length: %d\r\n\r\n%s\r\n\r\n" % (len(page), page)
    )
    (tmp_path / "web" / "a.jsonl").unlink()
    (tmp_path / "web" / "a.warc").write_bytes(request * 500 + response)
    assert run(tmp_path, recipe(tmp_path)).ledgers[0].total().kept.documents == 1


@pytest.mark.slow
def test_the_verdict_is_the_same_with_workers_and_with_parts_there_already(tmp_path: Path) -> None:
    for number in range(4):
        records = [{"text": words(n + 100 * number)} for n in range(6)] + [{"x": number}] * 9
        lines(tmp_path / "web" / f"{number}.jsonl", records)
    said = []
    for folder, workers in (("one", 1), ("two", 2)):
        with pytest.raises(UserError) as raised:
            run(tmp_path / folder, recipe(tmp_path), workers=workers)
        said.append(str(raised.value))
    with pytest.raises(UserError) as raised:
        run(tmp_path / "one", recipe(tmp_path))
    assert len({*said, str(raised.value)}) == 1


def test_a_finished_run_keeps_its_record_when_a_source_cannot_be_read_any_more(
    tmp_path: Path,
) -> None:
    lines(tmp_path / "web" / "a.jsonl", [{"text": words(n)} for n in range(40)])
    run(tmp_path, recipe(tmp_path))
    with pytest.raises(UserError, match="cannot be read"):
        run(tmp_path, recipe(tmp_path, text_field="body"))
    assert load_run(str(tmp_path / "runs"), "judged")[1]["reached"] == "corpus"


def test_the_setting_changes_no_key_and_no_training_is_refused_for_it(tmp_path: Path) -> None:
    lines(tmp_path / "web" / "a.jsonl", [{"text": words(n)} for n in range(40)])
    done = run(tmp_path, recipe(tmp_path))
    other = recipe(tmp_path, max_quarantined_share=0.9)
    assert run(tmp_path, other).computed == 0
    old = json.loads(json.dumps(done.record))
    del old["recipe"]["corpus"]["sources"][0]["max_quarantined_share"]  # of an earlier release
    for loaded in (other, recipe(tmp_path)):
        check_shards_are_of(loaded, old)


def test_deduplication_alone_stops_too_and_has_its_own_option(tmp_path: Path) -> None:
    records = [{"text": words(n)} for n in range(5)] + [{"text": None}] * 30
    path = str(lines(tmp_path / "web" / "a.jsonl", records))
    with pytest.raises(UserError, match="cannot be read") as raised:
        dedup_files([path], str(tmp_path / "out"))
    assert raised.value.field == "max_quarantined"
    assert "max_quarantined lets" in (raised.value.fix or "")
    done = dedup_files([path], str(tmp_path / "out"), max_quarantined=1.0)
    assert done.not_read["no_text"].documents == 30


# -- lost files -----------------------------------------------------------------------------------


def compressible(count: int) -> bytes:
    return b"".join(json.dumps({"text": words(n)}).encode() + b"\n" for n in range(count))


def long_window(text: bytes) -> bytes:
    parameters = zstandard.ZstdCompressionParameters(window_log=28, write_content_size=False)
    coder = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return coder.compress(text) + coder.flush()


def test_a_file_that_cannot_be_decoded_is_said_with_its_share(tmp_path: Path) -> None:
    folder = tmp_path / "web"
    folder.mkdir()
    whole = compressible(300)
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(whole))
    (folder / "b.jsonl.zst").write_bytes(long_window(whole))
    (folder / "c.jsonl.gz").write_bytes(gzip.compress(whole)[:-4000])
    heard = Heard()
    done = run(tmp_path, recipe(tmp_path), heard)
    lost = done.record["ledgers"][0]["facts"]["lost"]["web"]
    stored = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert lost["files"] == 2
    assert lost["stored"] == sum(stored.values())
    assert lost["gone"] == stored["b.jsonl.zst"]
    assert lost["cut"] == 1
    (note,) = [note for note in heard.notes if "damaged" in note]
    share = f"{100 * lost['gone'] / lost['stored']:.1f} %"
    assert share in note
    assert "b.jsonl.zst (corrupt_stream, 100 % lost)" in note
    assert note in warnings(done.record)
    page = (tmp_path / "runs" / "judged" / write_report(done.store, done.record)).read_text()
    assert share in page
    again = Heard()
    run(tmp_path, recipe(tmp_path), again)
    assert note in again.notes, "a call that finds everything says it too"


def damage_of(path: Path) -> dict[str, Any] | None:
    span, damage = Span(str(path), path.name), SpanDamage()
    for batch in read(span, "auto", "web", Fields(), Limits()):
        damage.add(batch)
    return lost_file(span, damage, Limits())


@pytest.mark.parametrize(("kind", "slack"), [("gz", 0.02), ("zst", 0.05)])
@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0.15, 0.85))
def test_the_lost_share_is_what_lies_behind_the_damage(
    tmp_path: Path, kind: str, slack: float, place: float
) -> None:
    """Members of their own, one of them overwritten by what no decoder takes: all that follows is
    lost, or as much less as a reader can go on with.
    """
    pack = gzip.compress if kind == "gz" else zstandard.ZstdCompressor().compress
    members = [pack(compressible(40)) for _ in range(50)]
    bad = int(place * len(members))
    before = sum(len(member) for member in members[:bad])
    members[bad] = b"\xff" * len(members[bad])
    path = tmp_path / f"a.jsonl.{kind}"
    path.write_bytes(b"".join(members))
    lost = damage_of(path)
    assert lost is not None
    behind = lost["stored"] - before
    assert len(members[bad]) * (1 - slack) - slack * lost["stored"] <= lost["gone"]
    assert lost["gone"] <= behind + slack * lost["stored"]


def test_row_groups_and_broken_parquet_files_are_lost_by_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"text": [words(n) for n in range(400)]})
    pq.write_table(table, path, row_group_size=100, compression="none", use_dictionary=False)
    assert damage_of(path) is None
    raw = bytearray(path.read_bytes())
    chunk = pq.read_metadata(path).row_group(1).column(0)
    raw[chunk.data_page_offset : chunk.data_page_offset + 16] = b"\xff" * 16
    path.write_bytes(raw)
    lost = damage_of(path)
    assert lost is not None
    assert lost["gone"] == pytest.approx(lost["stored"] / 4, rel=0.1)
    path.write_bytes(raw[:-20])
    lost = damage_of(path)
    assert lost == {"path": "a.parquet", "reason": "corrupt_file", "stored": len(raw) - 20, "gone": len(raw) - 20}  # fmt: skip


# -- sources of which nothing is left ---------------------------------------------------------------


def test_a_source_of_which_the_stages_keep_under_one_percent_is_warned_of(tmp_path: Path) -> None:
    lines(tmp_path / "web" / "a.jsonl", [{"text": words(n)} for n in range(101)])
    other = lines(tmp_path / "other.jsonl", [{"text": words(n, 9)} for n in range(50)] + [{"text": words(999)}])  # fmt: skip
    loaded = given_recipe(
        {
            "name": "judged",
            "corpus": {
                "sources": [
                    {"name": "web", "paths": ["web/*"]},
                    {"name": "other", "paths": [other.name]},
                ],
                "stages": [{"heuristics": {"thresholds": {"min_words": 10}}}],
            },
        },
        tmp_path,
    )
    heard = Heard()
    run(tmp_path, loaded, heard)
    assert not heard.notes, "one of 51 documents is over one percent"
    lines(tmp_path / "other.jsonl", [{"text": words(n, 9)} for n in range(150)] + [{"text": words(999)}])  # fmt: skip
    done = run(tmp_path, loaded, heard)
    assert heard.notes == ["source 'other': only 1 of its 151 documents stay: heuristics: gopher_short_doc 150"]  # fmt: skip
    assert warnings(done.record) == heard.notes


@pytest.mark.parametrize("quarantined", [True, False])
def test_a_mixture_names_the_quarantine_where_that_is_the_reason(
    tmp_path: Path, quarantined: bool
) -> None:
    lines(tmp_path / "web" / "a.jsonl", [{"text": words(n)} for n in range(60)])
    short = {"body": words(1)} if quarantined else {"text": "short"}
    lines(tmp_path / "zh.jsonl", [short] * 10)
    phase = {"name": "stable", "tokens": 64, "weights": {"web": 0.5, "zh": 0.5}}
    loaded = given_recipe(
        {
            "name": "judged",
            "corpus": {
                "sources": [
                    {"name": "web", "paths": ["web/*"]},
                    {"name": "zh", "paths": ["zh.jsonl"]},
                ],
                "stages": ["heuristics"],
            },
            "tokenizer": {"vocab_size": 512},
            "mixture": {"phases": [phase]},
            "train": {"sequence_length": 16, "batch_tokens": 32},
        },
        tmp_path,
    )
    done = run_recipe(loaded, str(tmp_path / "runs"), until="shards")
    with pytest.raises(UserError, match="a source without shards") as raised:
        plan_mixture(loaded, Materials.of(done.store, done.record))
    error = raised.value
    if quarantined:
        assert "read: no_text 10" in str(error.found)
        assert "quarantine" in (error.fix or "")
        assert "loosen" not in (error.fix or "")
    else:
        assert "heuristics: gopher_short_doc 10" in str(error.found)
        assert "loosen" in (error.fix or "")


def test_stored_bytes_are_those_of_each_source(tmp_path: Path) -> None:
    path = lines(tmp_path / "web" / "a.jsonl", [{"text": words(1)}])
    plan = plan_corpus(recipe(tmp_path), {})
    assert plan.stored_bytes == {"web": path.stat().st_size}
    assert plan.input_bytes == path.stat().st_size
