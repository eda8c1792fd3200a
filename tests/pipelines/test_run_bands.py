"""Sources cut into bands in a run: every kept document in exactly one, whatever the workers, made
anew only where it must be.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from artifacts.errors import UserError
from artifacts.ledger import Ledger
from pipelines.recipe.load import load_recipe
from pipelines.report.explain import explain_document, lines
from pipelines.run.cache import collect, usage
from pipelines.run.driver import RunOutcome, run_recipe
from pipelines.signals.rule_sets import RULE_SETS
from pipelines.training.materials import Materials
from pipelines.training.plans import plan_mixture
from tests.pipelines.run_trees import tree
from tokenizer.encode import Tokenizer
from tokenizer.shards.verify import verify

CUT = "shards.split={web: {by: characters, bands: {long: '>= 3000', mid: '>= 1000', short: rest}}}"
COPIES = "shards.split={web: {by: cluster_size, bands: {copied: '> 1', single: rest}}}"


class Notes:
    """A progress that keeps what is noted."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def phase(self, title: str, tasks: int, found: int, size: int) -> None: ...
    def advance(self, tasks: int, size: int) -> None: ...
    def stands(self, text: str) -> None: ...
    def end(self, ledgers: list[Ledger]) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)


def ids_in(outcome: RunOutcome, name: str) -> list[str]:
    folder = Path(outcome.store.full(outcome.record["shards"][name]["folder"]))
    parts = [pa.ipc.open_file(str(path)).read_all() for path in sorted(folder.glob("part-*.arrow"))]
    return [one.hex() for part in parts for one in part["id"].to_pylist()]


def kept(outcome: RunOutcome, source: str) -> set[str]:
    table = pl.read_parquet(outcome.store.full(outcome.record["selection"][source]["name"]))
    return set(table.filter("kept")["id"].bin.encode("hex"))


def signal(outcome: RunOutcome, source: str, measure: str, column: str) -> dict[str, Any]:
    chunks = [chunk for chunk in outcome.record["chunks"] if chunk["source"] == source]
    frame = pl.concat(
        pl.read_parquet(outcome.store.full(chunk["signals"][measure]["name"])) for chunk in chunks
    )
    return dict(zip(frame["id"].bin.encode("hex"), frame[column], strict=True))


def folders(outcome: RunOutcome) -> dict[str, str]:
    return {name: entry["folder"] for name, entry in outcome.record["shards"].items()}


def made(outcome: RunOutcome) -> set[str]:
    return {ledger.step for ledger in outcome.ledgers if ledger.computed}


@pytest.fixture
def cut(starter: Path, tmp_path: Path) -> RunOutcome:
    return run_recipe(load_recipe(starter, ["shards.hold_out=0.2", CUT]), str(tmp_path / "runs"))


def test_every_kept_document_is_in_exactly_one_band_and_held_out_of_it_or_not(
    cut: RunOutcome,
) -> None:
    characters = signal(cut, "web", "size", "characters")
    expected = {
        "long": lambda size: size >= 3000,
        "mid": lambda size: 1000 <= size < 3000,
        "short": lambda size: size < 1000,
    }
    found = {
        band: ids_in(cut, f"web/{band}") + ids_in(cut, f"web/{band}-validation")
        for band in expected
    }
    assert Counter(one for ids in found.values() for one in ids) == Counter(kept(cut, "web"))
    assert all(expected[band](characters[one]) for band, ids in found.items() for one in ids)
    assert all(found.values())
    assert "web" not in cut.record["shards"]
    assert set(ids_in(cut, "instructions") + ids_in(cut, "instructions-validation")) == kept(
        cut, "instructions"
    )


def test_a_document_is_held_out_whether_its_source_is_cut_or_not(
    cut: RunOutcome, starter: Path
) -> None:
    held = {
        one for band in ("long", "mid", "short") for one in ids_in(cut, f"web/{band}-validation")
    }
    whole = run_recipe(load_recipe(starter, ["shards.hold_out=0.2"]), str(starter.parent / "runs"))
    assert held == set(ids_in(whole, "web-validation"))


def test_bands_are_sources_in_the_record_in_ledgers_and_for_verification(cut: RunOutcome) -> None:
    tokenizer = Tokenizer.load(cut.store.read(cut.record["tokenizer"]["file"]["name"]))
    shards = {
        name: entry for name, entry in cut.record["shards"].items() if entry["source"] == "web"
    }
    assert (
        sum(entry["tokens"] for entry in shards.values()) == cut.record["encoded"]["web"]["tokens"]
    )
    assert {entry["band"] for entry in shards.values()} == {"long", "mid", "short"}
    for name, entry in shards.items():
        assert entry["folder"].rsplit("/", 1)[0] == f"shards/{name}"
        assert verify(cut.store.full(entry["folder"]), tokenizer) == []
    ledger = next(ledger for ledger in cut.ledgers if ledger.step == "split")
    assert set(ledger.sources) == {"web/long", "web/mid", "web/short"}
    assert ledger.total().kept.documents == len(kept(cut, "web"))


def test_a_band_by_copies_holds_what_deduplication_kept_in_place_of_others(
    starter: Path, tmp_path: Path
) -> None:
    outcome = run_recipe(load_recipe(starter, [COPIES]), str(tmp_path / "runs"))
    stands_for = Counter(kept(outcome, "web"))
    for step in ("exact_dedup", "minhash_dedup"):
        evidence = pl.read_parquet(
            outcome.store.full(outcome.record["evidence"][step]["file"]["name"])
        )
        stands_for.update(evidence["kept_id"].bin.encode("hex"))
    assert set(ids_in(outcome, "web/copied")) == {
        one for one in kept(outcome, "web") if stands_for[one] > 1
    }
    assert set(ids_in(outcome, "web/single")) == {
        one for one in kept(outcome, "web") if stands_for[one] == 1
    }
    assert ids_in(outcome, "web/copied")


def test_copies_of_copies_count(starter: Path, tmp_path: Path) -> None:
    """Two equal documents, the kept one of which goes as a near-copy of a longer one: that stands
    for three.
    """
    text = " ".join(
        f"word{number} of a text that two pages share and a third repeats with one line more"
        for number in range(40)
    )
    rows = [
        ("one", text),
        ("two", text),
        ("three", text + " This is the line."),
        ("alone", "Nothing else is like this page at all. " * 20),
    ]
    lines_of_json = "".join(f'{{"id": "{name}", "text": "{content}"}}\n' for name, content in rows)
    (starter.parent / "data" / "web.jsonl").write_text(
        (starter.parent / "data" / "web.jsonl").read_text() + lines_of_json
    )
    split = "shards.split={web: {by: cluster_size, bands: {three: '>= 3', rest: rest}}}"
    stages = "corpus.stages=[exact_dedup, minhash_dedup: {verify: 0.7}]"
    outcome = run_recipe(load_recipe(starter, [stages, split]), str(tmp_path / "runs"))
    facts = explain_document(outcome.store, outcome.record, "web:three")
    assert facts["shards"]["source"] == "web/three"
    assert (
        explain_document(outcome.store, outcome.record, "web:alone")["shards"]["source"]
        == "web/rest"
    )
    assert explain_document(outcome.store, outcome.record, "web:one")["shards"] is None


def test_explain_names_band_part_row_and_take_down(cut: RunOutcome, tmp_path: Path) -> None:
    from pipelines.shards.take_downs import remove_from_run

    document = ids_in(cut, "web/long")[2]
    facts = explain_document(cut.store, cut.record, document)["shards"]
    part = pa.ipc.open_file(cut.store.full(facts["part"])).read_all()
    assert (facts["source"], facts["removed"]) == ("web/long", None)
    assert part["id"][facts["row"]].as_py().hex() == document
    remove_from_run(cut.store, cut.record, {bytes.fromhex(document): document}, "asked for")
    told = lines(explain_document(cut.store, cut.record, document))
    assert any(line.strip() == f"tokens   web/long: {facts['part']}, row 2" for line in told)
    assert any("taken down: asked for" in line for line in told)


@pytest.mark.slow
def test_two_workers_write_the_same_bytes_as_one(starter: Path, tmp_path: Path) -> None:
    overrides = ["shards.hold_out=0.2", CUT, "corpus.chunk_mib=0.05"]
    for workers in (1, 2):
        run_recipe(load_recipe(starter, overrides), str(tmp_path / str(workers)), workers=workers)
    assert tree(tmp_path / "1" / "starter") == tree(tmp_path / "2" / "starter")


@pytest.mark.slow
def test_bands_do_not_depend_on_chunks(cut: RunOutcome, starter: Path, tmp_path: Path) -> None:
    again = run_recipe(
        load_recipe(starter, ["shards.hold_out=0.2", CUT, "corpus.chunk_mib=0.05"]),
        str(tmp_path / "others"),
    )
    assert folders(again) == folders(cut)


def test_a_threshold_makes_only_the_bands_anew_whose_documents_change(
    cut: RunOutcome, starter: Path, tmp_path: Path
) -> None:
    runs = str(tmp_path / "runs")
    moved = run_recipe(
        load_recipe(starter, ["shards.hold_out=0.2", CUT.replace("1000", "850")]), runs
    )
    assert made(moved) == {"split", "shards"}
    before, after = folders(cut), folders(moved)
    assert {name.removesuffix("-validation") for name in before if before[name] != after[name]} == {
        "web/mid",
        "web/short",
    }
    same = run_recipe(
        load_recipe(starter, ["shards.hold_out=0.2", CUT.replace(">= 3000", "> 2999")]), runs
    )
    assert made(same) == {"split"}
    assert run_recipe(load_recipe(starter, ["shards.hold_out=0.2", CUT]), runs).computed == 0


def test_garbage_collection_keeps_bands_in_use_and_removes_the_others(
    cut: RunOutcome, starter: Path, tmp_path: Path
) -> None:
    moved = run_recipe(
        load_recipe(starter, ["shards.hold_out=0.2", CUT.replace("1000", "850")]),
        str(tmp_path / "runs"),
    )
    rows = {row.step: row for row in usage(moved.store, moved.record)}
    assert (rows["shards/web/mid"].units, rows["shards/web/mid"].used_units) == (2, 1)
    assert collect(moved.store)[0] > 0
    assert (
        run_recipe(
            load_recipe(starter, ["shards.hold_out=0.2", CUT.replace("1000", "850")]),
            str(tmp_path / "runs"),
        ).computed
        == 0
    )


def test_shares_cut_the_kept_documents_exactly(starter: Path, tmp_path: Path) -> None:
    split = "shards.split={web: {by: heuristics-gopher.words, bands: {top: 'top 20%', middle: 'top 60%', low: rest}}}"
    outcome = run_recipe(load_recipe(starter, [split]), str(tmp_path / "runs"))
    words = signal(outcome, "web", "heuristics-gopher", "words")
    order = sorted(kept(outcome, "web"), key=lambda one: (-words[one], one))
    top, middle = (int(len(order) * share + 0.5) for share in (0.2, 0.6))
    assert set(ids_in(outcome, "web/top")) == set(order[:top])
    assert set(ids_in(outcome, "web/middle")) == set(order[top:middle])
    assert set(ids_in(outcome, "web/low")) == set(order[middle:])


def test_a_band_without_documents_is_noted_with_the_numbers_there_are(
    starter: Path, tmp_path: Path
) -> None:
    notes = Notes()
    outcome = run_recipe(
        load_recipe(starter, [CUT.replace("3000", "300000")]),
        str(tmp_path / "runs"),
        progress=notes,
    )
    assert outcome.record["shards"]["web/long"]["documents"] == 0
    [note] = [note for note in notes.notes if "web/long" in note]
    assert note.startswith(
        "web/long (>= 300000) has no documents, so it has no shards: characters: it goes from "
    )


def test_documents_without_a_number_need_a_band(starter: Path, tmp_path: Path) -> None:
    """Documents without a word have no mean word length."""
    web = starter.parent / "data" / "web.jsonl"
    web.write_text(
        web.read_text() + '{"id": "none", "text": "??? !!!"}\n{"id": "nothing", "text": "..."}\n'
    )
    thresholds = ", ".join(f"{rule.option}: null" for rule in RULE_SETS["gopher_quality"].rules)
    stages = f"corpus.stages=[heuristics: {{rules: [gopher_quality], sources: [web], thresholds: {{{thresholds}}}}}]"
    split = (
        "shards.split={{web: {{by: mean_word_length, bands: {{long: '>= 5', short: '< 5'{}}}}}}}"
    )
    with pytest.raises(
        UserError,
        match=r"2 of 100 documents have no mean_word_length, and no band takes them(.|\n)*rest",
    ) as raised:
        run_recipe(load_recipe(starter, [stages, split.format("")]), str(tmp_path / "runs"))
    assert raised.value.field == "shards.split.web.bands"
    outcome = run_recipe(
        load_recipe(starter, [stages, split.format(", unknown: rest")]), str(tmp_path / "runs")
    )
    assert outcome.record["shards"]["web/unknown"]["documents"] == 2


@pytest.mark.parametrize(
    ("split", "message", "field", "nearest"),
    [
        (
            "{web: {by: charakters, bands: {a: '>= 1', b: rest}}}",
            "no column of this name",
            "shards.split.web.by",
            "characters",
        ),
        (
            "{web: {by: heuristics-gopher.wordz, bands: {a: '>= 1', b: rest}}}",
            "no column",
            "shards.split.web.by",
            "heuristics-gopher.words",
        ),
        (
            "{web: {by: language, bands: {a: '>= 1', b: rest}}}",
            "this column is",
            "shards.split.web.by",
            None,
        ),
        (
            "{instructions: {by: words, bands: {a: '>= 1', b: rest}}}",
            "no column of this name",
            "shards.split.instructions.by",
            None,
        ),
        (
            "{wep: {by: characters, bands: {a: '>= 1', b: rest}}}",
            "no such source",
            "shards.split.wep",
            "web",
        ),
        (
            "{web: {by: characters, bands: {a: '>= 1'}}}",
            "at least 2",
            "shards.split.web.bands",
            None,
        ),
        (
            "{web: {by: characters, bands: {a: '>= 1', b/c: rest}}}",
            "pattern",
            "shards.split.web.bands",
            None,
        ),
        (
            "{web: {by: characters, bands: {a: '>= 1', b: '>= 2', c: rest}}}",
            "the bands before take every",
            "shards.split.web.bands.b",
            None,
        ),
        (
            "{web: {by: characters, bands: {a: '>= 1', b: '>= 0'}}}",
            "some numbers belong to no band",
            "shards.split.web.bands",
            None,
        ),
        ("{web: {bands: {a: '>= 1', b: rest}}}", "a field is missing", "shards.split.web.by", None),
    ],
)
def test_a_mistake_is_named_with_its_place_before_anything_is_read(
    starter: Path, tmp_path: Path, split: str, message: str, field: str, nearest: str | None
) -> None:
    with pytest.raises(UserError, match=message) as raised:
        run_recipe(load_recipe(starter, [f"shards.split={split}"]), str(tmp_path / "runs"))
    assert raised.value.field.startswith(field)
    assert raised.value.file == str(starter)
    if nearest is not None:
        assert raised.value.nearest == nearest
    assert not list((tmp_path / "runs").rglob("*.parquet"))


def test_copies_need_a_stage_that_compares(starter: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no stage compares the documents"):
        run_recipe(
            load_recipe(starter, ["corpus.stages=[newlines]", COPIES]), str(tmp_path / "runs")
        )


MIXTURE = [
    "shards.hold_out=0.2",
    CUT,
    "train={sequence_length: 64, batch_tokens: 256, schedule: {kind: wsd, peak: 0.01, warmup: 1}}",
    "model={preset: tiny, width: 64, layers: 1, heads: 1, kv_heads: 1, ff: 64}",
]


def test_a_mixture_weighs_bands_like_sources_and_measures_each_on_its_own_held_out_documents(
    starter: Path, tmp_path: Path
) -> None:
    phases = "mixture={phases: [{name: stable, tokens: 1024, weights: {web/long: 0.5, web/short: 0.25, instructions: 0.25}}]}"
    loaded = load_recipe(starter, [*MIXTURE, phases])
    outcome = run_recipe(loaded, str(tmp_path / "runs"), until="shards")
    materials = Materials.of(outcome.store, outcome.record)
    plan = plan_mixture(loaded, materials)
    assert plan.names == ("instructions", "web/long", "web/short")
    assert "web/short-validation" in materials.held_out(plan.names, plan.sequence_length)


@pytest.mark.parametrize(
    ("name", "message"), [("web/lang", "no such band"), ("instructions/long", "not cut into bands")]
)
def test_a_weight_on_what_is_no_source_of_tokens_is_refused_with_the_bands(
    starter: Path, name: str, message: str
) -> None:
    phases = f"mixture={{phases: [{{name: stable, tokens: 1024, weights: {{{name}: 1}}}}]}}"
    with pytest.raises(UserError, match=message) as raised:
        load_recipe(starter, [*MIXTURE, phases])
    assert raised.value.allowed == (
        ["web/long", "web/mid", "web/short"] if name == "web/lang" else ["instructions"]
    )
