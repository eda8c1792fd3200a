"""Bad input: mistakes in the recipe stop before anything is written; bad records are quarantined,
the rest is as before.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import zstandard

from artifacts.errors import UserError
from artifacts.ledger import LedgerError
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import run_recipe
from tests.pipelines.broken_corpus import break_corpus
from tests.pipelines.run_trees import record


@pytest.mark.slow
def test_five_hundred_broken_records_are_in_quarantine_and_every_good_one_is_treated_as_before(
    root: Path, tmp_path: Path
) -> None:
    clean, broken = tmp_path / "clean", tmp_path / "broken"
    clean.mkdir()
    for name in ("etcd-docs", "digitalgov", "rust-book-editions"):
        source = root / "examples" / "corpus" / "web-en" / f"{name}.jsonl.zst"
        (clean / source.name).write_bytes(source.read_bytes())
    record_bytes = 1 << 20
    planted = break_corpus(clean, broken, seed=7, record_bytes=record_bytes)
    assert len(planted) == 500
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "name: broken\n"
        "corpus:\n"
        "  sources: [{name: web, paths: [FOLDER/*.jsonl.zst], id_field: id}]\n"
        "  stages: [newlines, heuristics, exact_dedup, minhash_dedup]\n"
        "  chunk_mib: 1\n"
        "  limits: {record_mib: 1, quarantine_kib: 4}\n"
    )
    runs = {}
    for folder in ("clean", "broken"):
        recipe.write_text(
            recipe.read_text()
            .replace("FOLDER", folder)
            .replace("clean/" if folder == "broken" else "nothing/", f"{folder}/")
        )
        run_recipe(load_recipe(recipe, [f"name={folder}"]), str(tmp_path / "runs"))
        runs[folder] = tmp_path / "runs" / folder
    quarantine = pa.concat_tables(
        pq.read_table(runs["broken"] / ref["name"]) for ref in record(runs["broken"])["quarantine"]
    )
    found = sorted(
        zip(
            quarantine["path"].to_pylist(),
            quarantine["offset"].to_pylist(),
            quarantine["reason"].to_pylist(),
            strict=True,
        )
    )
    assert found == sorted((entry.path, entry.offset, entry.reason) for entry in planted)
    assert pc.min(pc.binary_length(quarantine["raw"])).as_py() > 0
    assert selection(runs["broken"]).equals(selection(runs["clean"]))
    for step in ("exact_dedup", "minhash_dedup"):
        checksums = [record(runs[folder])["evidence"][step]["file"]["checksum"] for folder in runs]
        assert checksums[0] == checksums[1]
    ledgers = record(runs["broken"])["ledgers"]
    quarantined = sum(
        entry["documents"]
        for ledger in ledgers[:2]
        for entry in ledger["total"]["quarantined"].values()
    )
    assert quarantined == 500


def selection(run: Path) -> pa.Table:
    return pa.concat_tables(
        pq.read_table(run / ref["name"]) for ref in record(run)["selection"].values()
    )


@pytest.mark.parametrize(
    ("old", "new", "field", "nearest"),
    [
        ("seed: 1", "sead: 1", "sead", "seed"),
        ("- exact_dedup", "- exact_dedupe", "corpus.stages[3]", "exact_dedup"),
        ("id_field: id}", "id_feild: id}", "corpus.sources[0].id_feild", "id_field"),
        ("keep: [en]", "kept: [en]", "corpus.stages[1].language.kept", "keep"),
        (
            "{keep: [en], sources: [web]}",
            "{keep: [en], sources: [wbe]}",
            "corpus.stages[1].language.sources",
            "web",
        ),
        ("rules: [gopher_quality]", "rules: [gopher_qualty]", "rules", "gopher_quality"),
        (
            "rules: [gopher_quality]",
            "thresholds: {min_word: 3}",
            "heuristics.thresholds.min_word",
            "min_words",
        ),
        ("paths: [data/web.jsonl]", "paths: [data/wep.jsonl]", "paths", "web.jsonl"),
        ("paths: [data/web.jsonl]", "paths: [data/*.parquet]", "paths", None),
        (
            "against: [data/benchmark.jsonl]",
            "against: [data/bench.jsonl]",
            "paths",
            "benchmark.jsonl",
        ),
        ("characters desc", "charcters desc", "minhash_dedup.keep", "characters"),
        ("web: 0.8", "webb: 0.8", "tokenizer.sample.webb", "web"),
        ("vocab_size: 1024", "vocab_size: many", "tokenizer.vocab_size", None),
        ("verify: 0.7", "verify: 1.7", "corpus.stages[4].minhash_dedup.verify", None),
    ],
)
def test_a_mistake_in_the_recipe_stops_before_anything_is_written(
    starter: Path, tmp_path: Path, old: str, new: str, field: str, nearest: str | None
) -> None:
    text = starter.read_text()
    assert old in text
    starter.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        run_recipe(load_recipe(starter), str(tmp_path / "runs"))
    error = caught.value
    assert not (tmp_path / "runs").exists()
    assert error.file == str(starter)
    assert error.line == text[: text.index(old)].count("\n") + 1, str(error)
    assert field in (error.field or ""), str(error)
    if nearest:
        assert (error.nearest or "").endswith(nearest), str(error)


def test_yaml_that_does_not_parse_names_the_line(starter: Path) -> None:
    starter.write_text("name: x\ncorpus: [\n  a: b\n")
    with pytest.raises(UserError, match="not valid YAML") as caught:
        load_recipe(starter)
    assert caught.value.line is not None


def test_a_missing_recipe_names_those_there_are(starter: Path) -> None:
    with pytest.raises(UserError, match="no such file") as caught:
        load_recipe(starter.with_name("recipes.yaml"))
    assert caught.value.nearest == str(starter)


def test_a_stage_that_empties_the_corpus_is_named_with_its_reasons(
    starter: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="empty after step 'heuristics'") as caught:
        run_recipe(
            load_recipe(
                starter,
                [
                    "corpus.sources=[{name: web, paths: [data/web.jsonl], id_field: id}]",
                    "tokenizer.sample=null",
                    "corpus.stages.2.heuristics.thresholds={min_words: 1000000}",
                ],
            ),
            str(tmp_path / "runs"),
        )
    assert "gopher_short_doc" in str(caught.value)


def test_a_source_of_bad_records_only_is_named_as_empty(starter: Path, tmp_path: Path) -> None:
    (starter.parent / "data" / "web.jsonl").write_text("not json\n" * 3)
    with pytest.raises(UserError, match="empty after step 'read'") as caught:
        run_recipe(
            load_recipe(
                starter,
                [
                    "corpus.sources=[{name: web, paths: [data/web.jsonl], id_field: id}]",
                    "tokenizer.sample=null",
                ],
            ),
            str(tmp_path / "runs"),
        )
    assert "invalid_json 3" in str(caught.value)


def test_a_truncated_zst_and_a_truncated_gz_give_what_they_hold_and_one_quarantine_record_each(
    starter: Path, tmp_path: Path
) -> None:
    import gzip

    raw = (starter.parent / "data" / "web.jsonl").read_bytes()
    for suffix, compressed in {"zst": zstandard.compress(raw), "gz": gzip.compress(raw)}.items():
        (starter.parent / "data" / f"web.jsonl.{suffix}").write_bytes(
            compressed[: len(compressed) * 2 // 3]
        )
        outcome = run_recipe(
            load_recipe(
                starter, [f"name={suffix}", f"corpus.sources.0.paths=[data/web.jsonl.{suffix}]"]
            ),
            str(tmp_path / "runs"),
        )
        entry = next(ledger for ledger in outcome.ledgers if ledger.step == "read").sources["web"]
        assert entry.kept.documents > 10
        assert {reason: count.documents for reason, count in entry.quarantined.items()} == {
            "truncated_stream": 1
        }


def test_two_records_with_one_key_keep_the_first_by_path_and_offset(
    starter: Path, tmp_path: Path
) -> None:
    web = starter.parent / "data" / "web.jsonl"
    lines = web.read_text().splitlines()
    first = json.loads(lines[0])
    copy = {**first, "text": "Another text under the same key."}
    web.write_text("\n".join([*lines[:3], json.dumps(copy), *lines[3:]]) + "\n")
    run_recipe(load_recipe(starter), str(tmp_path / "runs"), until="corpus")
    run = tmp_path / "runs" / "starter"
    table = pa.concat_tables(pq.read_table(run / ref["name"]) for ref in record(run)["quarantine"])
    assert table["reason"].to_pylist() == ["duplicate_key"]
    assert table["offset"].to_pylist() == [sum(len(line.encode()) + 1 for line in lines[:3])]
    assert json.loads(table["raw"][0].as_py())["text"] == copy["text"]
    documents = pa.concat_tables(
        pq.read_table(run / chunk["documents"]["name"], columns=["native_id", "text"])
        for chunk in record(run)["chunks"]
    )
    kept = documents.filter(pc.equal(documents["native_id"], first["id"]))
    assert kept["text"].to_pylist() == [first["text"]]


def test_a_reader_that_loses_a_record_stops_the_run(
    starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pipelines.chunks.reading as reading

    real = reading.account

    def losing(entry: object, batch: object) -> None:
        real(entry, batch)  # type: ignore[arg-type]
        entry.kept.documents -= 1  # type: ignore[attr-defined]

    monkeypatch.setattr(reading, "account", losing)
    with pytest.raises(LedgerError, match="step read"):
        run_recipe(load_recipe(starter), str(tmp_path / "runs"))


def test_overrides_set_nested_fields_and_name_what_is_wrong(starter: Path) -> None:
    loaded = load_recipe(
        starter, ["name=other", "corpus.sources.0.lang=en", "tokenizer.sample.web=0.5"]
    )
    assert loaded.recipe.name == "other"
    assert loaded.recipe.corpus.sources[0].lang == "en"
    for wrong in ("name", "corpus.sources.9.lang=en", "name.first=x"):
        with pytest.raises(UserError):
            load_recipe(starter, [wrong])
