"""A run's kept documents as a dataset: read back they are those that were kept, and the card says
so.
"""

from __future__ import annotations

import json
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard
from typer.testing import CliRunner

from artifacts.errors import UserError
from artifacts.paths import Store
from artifacts.tables import read_parquet
from pipelines.commands.app import app
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.selection import kept_mask
from pipelines.readers import Fields, Span, read
from pipelines.recipe.load import given_recipe
from pipelines.run.driver import RunOutcome, run_recipe
from pipelines.run.export import Exported, export
from pipelines.shards.take_downs import remove_from_run
from pipelines.writers.dataset_card import size_class

STAGES = ["exact_dedup", {"line_dedup": {"least": 3}}]
FIELDS = {
    "web": Fields(id_field="id"),
    "web-2": Fields(),
    "chat": Fields(messages_field="messages", id_field="id"),
}
SENTENCES = (
    "Rain fell on the hills all day. Nobody went out before noon. The road was dry by night. {}"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunOutcome]:
    folder = tmp_path_factory.mktemp("export")
    texts = [SENTENCES.format(f"Page {n % 20} ends here.") for n in range(30)]
    web = [
        {"id": f"w{n}", "text": text, "license": "MIT" if n % 2 else "odd | *terms*\n# one", "k": n}
        for n, text in enumerate(texts)
    ]
    other = [{"text": SENTENCES.format(f"Other {n} is told."), "lang": "de"} for n in range(9)]
    chat = [
        {"id": n, "messages": [{"role": "user", "content": f"Why {n}?"}, {"role": "assistant", "content": "So."}]}
        for n in range(4)
    ]  # fmt: skip
    rows: dict[str, list[dict[str, Any]]] = {"web": web, "web-2": other, "chat": chat}
    for name, records in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in records))
    sources = [
        {"name": "web", "paths": ["web.jsonl"], "id_field": "id", "lang": "en"},
        {"name": "web-2", "paths": ["web-2.jsonl"]},
        {"name": "chat", "paths": ["chat.jsonl"], "id_field": "id", "messages_field": "messages"},
    ]
    corpus = {"sources": sources, "stages": STAGES, "chunk_mib": 0.0625}
    loaded = given_recipe({"name": "rain", "corpus": corpus}, folder)
    return folder, run_recipe(loaded, str(folder / "runs"), until="corpus")


def kept(outcome: RunOutcome, source: str) -> dict[bytes, str]:
    """Texts by hash of the documents that a run keeps of a source."""
    found: dict[bytes, str] = {}
    for chunk in map(Chunk.from_json, outcome.record["chunks"]):
        if chunk.source == source:
            table = read_parquet(outcome.store, chunk.records.name, "documents")
            rewritten = dict(
                zip(table["text_hash"].to_pylist(), table["text"].to_pylist(), strict=True)
            )
            mask = pa.array(kept_mask(outcome.store, chunk))
            size = read_parquet(outcome.store, chunk.signals["size"].name, "signals").filter(mask)
            found |= {one: rewritten.get(one, "") for one in size["text_hash"].to_pylist()}
    return found


def read_back(done: Exported, source: str) -> dict[bytes, str]:
    """The same of the files that were written."""
    found: dict[bytes, str] = {}
    for name in done.files:
        if Path(name).name.rsplit("-", 1)[0] == source:
            kind = "parquet" if name.endswith("parquet") else "jsonl"
            fields = FIELDS[source]
            if kind == "parquet":  # its ids are bytes
                fields = replace(fields, id_field=None)
            for batch in read(Span(name, "x"), kind, "s", fields):
                rows = batch.documents.to_pylist()
                found |= {row["text_hash"]: row["text"] for row in rows}
    return found


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_read_back_it_is_what_was_kept(
    made: tuple[Path, RunOutcome], tmp_path: Path, format: str, workers: int
) -> None:
    folder, outcome = made
    runs, out = str(folder / "runs"), str(tmp_path / "out")
    done = export(runs, "rain", out, format=format, workers=workers)
    for source, number in {"web": 20, "web-2": 9, "chat": 4}.items():
        assert read_back(done, source).keys() == kept(outcome, source).keys()
        assert len(read_back(done, source)) == number
    assert (done.documents, done.computed, done.taken_down) == (33, True, 0)
    assert done.text_bytes == sum(
        len(text.encode()) for source in FIELDS for text in read_back(done, source).values()
    )
    again = export(runs, "rain", out, format=format)
    assert not again.computed
    assert again.files == done.files


def test_a_card_says_what_the_files_are(made: tuple[Path, RunOutcome], tmp_path: Path) -> None:
    done = export(str(made[0] / "runs"), "rain", str(tmp_path))
    card = DatasetCard.load(done.card)
    assert card.data.language == ["de", "en"]
    assert card.data.license == ["mit", "other"]
    assert card.data.size_categories == ["n<1K"]
    names = [str(Path(name).relative_to(tmp_path)) for name in done.files]
    for entry in card.data.configs:
        files = [name for name in names if any(fnmatch(name, one) for one in entry["data_files"])]
        assert files == [
            name for name in names if name.startswith(f"data/{entry['config_name']}-0")
        ]
        assert files
    assert r"MIT 10, odd \| \*terms\*" in card.text
    assert "\n# one" not in card.text
    assert r"| web | exact\_duplicate | 10 |" in card.text
    assert '"line_dedup"' in card.text


def test_what_was_taken_down_is_left_out_and_said(tmp_path: Path) -> None:
    rows = [{"id": str(n), "text": f"Sentence number {n} is told here."} for n in range(5)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"name": "web", "paths": ["a.jsonl"], "id_field": "id"}
    loaded = given_recipe({"name": "run", "corpus": {"sources": [source]}}, tmp_path)
    outcome = run_recipe(loaded, str(tmp_path / "runs"), until="corpus")
    runs, out = str(tmp_path / "runs"), str(tmp_path / "out")
    assert export(runs, "run", out, format="parquet").documents == 5
    (file,) = export(runs, "run", out, format="parquet").files
    ids = pq.read_table(file)["id"].to_pylist()
    wanted = {ids[1]: ids[1].hex(), ids[3]: ids[3].hex(), b"\0" * 16: "0"}
    remove_from_run(outcome.store, outcome.record, wanted, "asked for", ignore_missing=True)
    done = export(runs, "run", out, format="parquet")
    assert pq.read_table(file)["id"].to_pylist() == [ids[0], ids[2], ids[4]]
    assert (done.documents, done.taken_down, done.computed) == (3, 2, True)
    card = Path(done.card).read_text()
    assert "2 that were kept are left out: they were taken down." in card
    assert r"| web | taken\_down | 2 |" in card


def test_what_is_in_the_way_or_not_there_is_told(
    made: tuple[Path, RunOutcome], tmp_path: Path
) -> None:
    runs = str(made[0] / "runs")
    for wrong, field in (({"sources": ["wob"]}, "sources"), ({"format": "csv"}, "format")):
        with pytest.raises(UserError) as error:
            export(runs, "rain", str(tmp_path), **wrong)  # type: ignore[arg-type]
        assert error.value.address[0] == field
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(UserError, match="another file lies where the card"):
        export(runs, "rain", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    (tmp_path / "out" / "data").mkdir(parents=True)
    (tmp_path / "out" / "data" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="other files lie where"):
        export(runs, "rain", str(tmp_path / "out"))


@pytest.mark.parametrize(
    "name", ["train-00000-of-00001.parquet", "train-00000.jsonl.zst", "manifest.json"]
)
@pytest.mark.parametrize("beside_ours", [False, True])
def test_a_file_that_another_wrote_is_never_deleted(
    made: tuple[Path, RunOutcome], tmp_path: Path, name: str, beside_ours: bool
) -> None:
    """As data sets of a hub name theirs; beside an export of another format, or before any."""
    runs, out = str(made[0] / "runs"), tmp_path / "out"
    if beside_ours and name != "manifest.json":
        export(runs, "rain", str(out))
    (out / "data").mkdir(parents=True, exist_ok=True)
    (out / "data" / name).write_text('{"files": []}')
    before = sorted(out.rglob("*"))
    with pytest.raises(UserError, match="other files lie where") as caught:
        export(runs, "rain", str(out), format="parquet")
    assert str(caught.value.file) == str(out / "data" / name)
    assert sorted(out.rglob("*")) == before


def test_an_export_that_was_stopped_is_made_anew(
    made: tuple[Path, RunOutcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, out = str(made[0] / "runs"), str(tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.writers.kept_documents.publish", None)  # before the manifest
        with pytest.raises(TypeError):
            export(runs, "rain", out)
    assert not Store(out).exists("data/manifest.json")
    assert any(name.endswith("web-00000.jsonl.zst") for name in Store(out).names())
    done = export(runs, "rain", out, format="parquet")
    assert done.documents == 33
    left = {name for name in Store(out).names() if not name.endswith(".parquet")}
    assert left == {"README.md", "data/manifest.json"}
    raw = Store(out).read("data/manifest.json")
    for damaged in (b"", raw[:-20], raw.replace(b'"rows":', b'"rowz":')):
        Store(out).write("data/manifest.json", damaged)
        assert export(runs, "rain", out, format="parquet").computed


def test_a_source_that_keeps_nothing_has_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "1", "text": "One sentence is told here."}\n')
    sources = [
        {"name": name, "paths": ["a.jsonl"], "id_field": "id"} for name in ("v-1.5", "v-2.5")
    ]
    corpus = {"sources": sources, "stages": ["exact_dedup"]}
    loaded = given_recipe({"name": "run", "corpus": corpus}, tmp_path)
    run_recipe(loaded, str(tmp_path / "runs"), until="corpus")
    done = export(str(tmp_path / "runs"), "run", str(tmp_path / "out"))
    assert "Nothing was left out." not in Path(done.card).read_text()
    alone = export(str(tmp_path / "runs"), "run", str(tmp_path / "alone"), sources=["v-1.5"])
    assert "Nothing was left out." in Path(alone.card).read_text()
    configs = DatasetCard.load(done.card).data.configs
    assert configs == [{"config_name": "v-1.5", "data_files": ["data/v-1.5-?????.jsonl.zst"]}]


def test_the_command_says_what_it_wrote(made: tuple[Path, RunOutcome], tmp_path: Path) -> None:
    runs, out = str(made[0] / "runs"), str(tmp_path / "out")
    call = ["corpus", "export", "rain", "-o", out, "--runs", runs, "--source", "web"]
    said = CliRunner().invoke(app, call)
    assert said.exit_code == 0, said.output
    assert "20 documents" in said.output
    assert f"{out}/data/web-00000.jsonl.zst" in said.output
    facts = json.loads(CliRunner().invoke(app, [*call, "--json"]).output)
    assert facts["documents"] == 20
    assert facts["computed"] is False
    assert Store(out).exists("README.md")


def test_size_classes_are_the_hubs() -> None:
    assert [size_class(number) for number in (0, 999, 1000, 10**6, 10**9 - 1, 10**9)] == [
        "n<1K", "n<1K", "1K<n<10K", "1M<n<10M", "100M<n<1B", "n>1B",
    ]  # fmt: skip
