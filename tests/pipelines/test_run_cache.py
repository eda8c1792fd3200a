"""What is there is not made again; what depends on a change is, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines.recipe.load import load_recipe
from pipelines.run.cache import collect, usage
from pipelines.run.driver import run_recipe
from tests.pipelines.run_trees import record, tree

RECOMPUTED_BY_A_THRESHOLD = {
    "heuristics",
    "exact_dedup",
    "minhash_dedup",
    "decontaminate",
    "tokenizer",
    "encode",
    "shards",
}


def computed(ledgers: list) -> set[str]:  # type: ignore[type-arg]
    return {ledger.step for ledger in ledgers if ledger.computed}


def test_a_second_run_makes_nothing(starter: Path, tmp_path: Path) -> None:
    first = run_recipe(load_recipe(starter), str(tmp_path / "runs"))
    before = tree(tmp_path / "runs" / "starter")
    second = run_recipe(load_recipe(starter), str(tmp_path / "runs"))
    assert first.computed > 0
    assert second.computed == 0
    assert computed(second.ledgers) == set()
    assert tree(tmp_path / "runs" / "starter") == before
    assert [ledger.sources for ledger in second.ledgers] == [
        ledger.sources for ledger in first.ledgers
    ]


def test_a_threshold_re_runs_choosing_and_what_follows_but_no_reading_measuring_or_signatures(
    starter: Path, tmp_path: Path
) -> None:
    run_recipe(load_recipe(starter), str(tmp_path / "runs"))
    changed = run_recipe(
        load_recipe(starter, ["corpus.stages.2.heuristics.thresholds={min_words: 200}"]),
        str(tmp_path / "runs"),
    )
    assert computed(changed.ledgers) == RECOMPUTED_BY_A_THRESHOLD
    assert not any(step.endswith("(measure)") for step in computed(changed.ledgers))
    back = run_recipe(load_recipe(starter), str(tmp_path / "runs"))
    assert back.computed == 0


def test_a_deduplication_threshold_does_not_touch_what_comes_before_it(
    starter: Path, tmp_path: Path
) -> None:
    run_recipe(load_recipe(starter), str(tmp_path / "runs"))
    changed = run_recipe(
        load_recipe(starter, ["corpus.stages.4.minhash_dedup.verify=0.9"]), str(tmp_path / "runs")
    )
    assert "minhash_dedup" in computed(changed.ledgers)
    assert not computed(changed.ledgers) & {
        "read",
        "language",
        "heuristics",
        "exact_dedup",
        "minhash_dedup (measure)",
    }


def test_a_change_that_keeps_every_document_ends_at_the_selection(
    starter: Path, tmp_path: Path
) -> None:
    """Keys rest on the content of inputs, not on how it came about."""
    run_recipe(load_recipe(starter), str(tmp_path / "runs"))
    changed = run_recipe(
        load_recipe(starter, ["corpus.stages.2.heuristics.thresholds={max_words: 99999}"]),
        str(tmp_path / "runs"),
    )
    assert computed(changed.ledgers) == {"heuristics"}


def test_a_new_input_file_leaves_the_other_chunks_alone(starter: Path, tmp_path: Path) -> None:
    overrides = ["corpus.sources.0.paths=[data/web*.jsonl]", "corpus.chunk_mib=0.15"]
    run_recipe(load_recipe(starter, overrides), str(tmp_path / "runs"))
    text = (
        "A sentence that is long enough to be kept by the rules of the recipe and that the house has not seen before. "
        * 8
    )
    (starter.parent / "data" / "web-more.jsonl").write_text(f'{{"id": "new", "text": "{text}"}}\n')
    more = run_recipe(load_recipe(starter, overrides), str(tmp_path / "runs"))
    read = next(ledger for ledger in more.ledgers if ledger.step == "read")
    assert 0 < read.computed < read.units


def test_a_deleted_or_shortened_file_is_made_again_to_the_same_bytes(
    starter: Path, tmp_path: Path
) -> None:
    run_recipe(load_recipe(starter), str(tmp_path / "runs"))
    run = tmp_path / "runs" / "starter"
    before = tree(run)
    content = record(run)
    (run / content["chunks"][0]["signals"]["minhash_dedup"]["name"]).unlink()
    part = run / content["shards"]["web"]["folder"] / "part-00000.arrow"
    part.write_bytes(part.read_bytes()[:-5])
    shutil.rmtree(run / content["shards"]["instructions"]["folder"])
    again = run_recipe(load_recipe(starter), str(tmp_path / "runs"))
    assert computed(again.ledgers) == {"minhash_dedup (measure)", "shards"}
    assert tree(run) == before


def test_garbage_collection_removes_only_what_the_newest_run_does_not_use(
    starter: Path, tmp_path: Path
) -> None:
    run_recipe(
        load_recipe(starter, ["corpus.stages.2.heuristics.thresholds={min_words: 200}"]),
        str(tmp_path / "runs"),
    )
    outcome = run_recipe(load_recipe(starter), str(tmp_path / "runs"))
    whole = sum(row.bytes for row in usage(outcome.store, outcome.record))
    used = sum(row.used_bytes for row in usage(outcome.store, outcome.record))
    units, size = collect(outcome.store, dry_run=True)
    assert units > 0
    assert whole - used == size
    assert collect(outcome.store) == (units, size)
    assert collect(outcome.store) == (0, 0)
    assert run_recipe(load_recipe(starter), str(tmp_path / "runs")).computed == 0


@pytest.mark.parametrize("until", ["read", "corpus", "tokenizer"])
def test_a_run_can_stop_early_and_go_on(starter: Path, tmp_path: Path, until: str) -> None:
    part = run_recipe(load_recipe(starter), str(tmp_path / "runs"), until=until)
    assert part.record["reached"] == until
    assert part.record["shards"] == {}
    whole = run_recipe(load_recipe(starter), str(tmp_path / "runs"))
    assert whole.record["reached"] == "shards"
    assert "read" not in computed(whole.ledgers)


def test_stopping_early_does_not_give_up_what_was_finished_before(
    starter: Path, tmp_path: Path
) -> None:
    run_recipe(load_recipe(starter), str(tmp_path / "runs"))
    stopped = run_recipe(load_recipe(starter), str(tmp_path / "runs"), until="corpus")
    before = set(stopped.store.names())
    collect(stopped.store)
    # parts of a comparison that has ended
    assert {name.split("/")[0] for name in before - set(stopped.store.names())} == {"work"}
    assert run_recipe(load_recipe(starter), str(tmp_path / "runs")).computed == 0


def test_a_rewrite_after_the_last_choice_changes_selection_tokenizer_and_shards(
    starter: Path, tmp_path: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    stages = "corpus.stages=[exact_dedup, newlines: {{max_blank_lines: {}}}]"
    one = run_recipe(load_recipe(starter, [stages.format("null")]), str(tmp_path / "runs"))
    other = run_recipe(load_recipe(starter, [stages.format(1)]), str(tmp_path / "runs"))
    assert one.record["shards"]["web"]["folder"] != other.record["shards"]["web"]["folder"]
    selection = pq.read_table(other.store.full(other.record["selection"]["web"]["name"]))
    part = pa.ipc.open_file(
        other.store.full(other.record["shards"]["web"]["folder"]) + "/part-00000.arrow"
    ).read_all()
    kept = selection.filter(selection["kept"])
    assert sorted(part["text_hash"].to_pylist()) == sorted(kept["text_hash"].to_pylist())


def test_other_roles_make_other_shards(starter: Path, tmp_path: Path) -> None:
    """The contents stay, the borders of what is trained on change."""
    one = run_recipe(load_recipe(starter), str(tmp_path / "runs"))
    path = starter.parent / "data" / "instructions.jsonl"
    text = (
        path.read_text()
        .replace('"user"', '"?"')
        .replace('"assistant"', '"user"')
        .replace('"?"', '"assistant"')
    )
    path.write_text(text)
    other = run_recipe(load_recipe(starter), str(tmp_path / "runs"))
    assert (
        one.record["shards"]["instructions"]["folder"]
        != other.record["shards"]["instructions"]["folder"]
    )


def test_an_input_that_changes_while_it_is_read_is_refused_and_not_remembered(
    starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pipelines.chunks.reading as reading
    from artifacts.errors import UserError

    web = starter.parent / "data" / "web.jsonl"
    original = web.read_bytes()
    real = reading.read

    def changing(*arguments: object) -> object:
        web.write_bytes(original.splitlines(keepends=True)[0])
        yield from real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "read", changing)
    with pytest.raises(UserError, match="changed while it was read"):
        run_recipe(load_recipe(starter), str(tmp_path / "runs"))
    monkeypatch.undo()
    web.write_bytes(original)
    outcome = run_recipe(load_recipe(starter), str(tmp_path / "runs"))
    assert next(ledger for ledger in outcome.ledgers if ledger.step == "read").sources[
        "web"
    ].kept.documents == len(original.splitlines())


def test_a_changed_bad_record_changes_the_quarantine_even_beside_an_equal_key(
    starter: Path, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    web = starter.parent / "data" / "web.jsonl"
    first = web.read_text().splitlines()[0]
    raws = []
    for mark in ("BROKEN1", "BROKEN2"):
        web.write_text(f"{first}\n{first}\n{mark}\n")
        outcome = run_recipe(
            load_recipe(starter, ["corpus.stages=[]", "tokenizer=null"]), str(tmp_path / "runs")
        )
        table = pq.read_table(
            outcome.store.full(
                next(
                    ref["name"]
                    for ref in outcome.record["quarantine"]
                    if ref["name"].endswith("/web.parquet")
                )
            )
        )
        assert table["offset"].to_pylist() == sorted(table["offset"].to_pylist())
        raws.append(table["raw"].to_pylist())
    assert raws[0] != raws[1]
