"""The table of sources in sources: numbers of a run against plain sets, the same for any cut into
chunks.
"""

from __future__ import annotations

import random
from pathlib import Path

import orjson
import pytest

from pipelines.recipe.load import load_recipe
from pipelines.report.findings import collect
from pipelines.report.page import render
from pipelines.run.driver import RunOutcome, run_recipe
from tests.pipelines.test_report_page import Page
from tests.pipelines.test_run_dedup import shingles

RECIPE = """
name: overlap
corpus:
  sources:
    - {name: web, paths: [web.jsonl], id_field: id}
    - {name: sft, paths: [sft.jsonl], id_field: id}
    - {name: code, paths: [code.jsonl], id_field: id}
  stages:
    - source_overlap: {ngrams: 5, scale: 1}
    - exact_dedup
  chunk_mib: 0.02
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of sft is quoted in web, a fifth of it word for word as whole documents; code is
    apart.
    """
    folder, draw = tmp_path_factory.mktemp("overlap"), random.Random(2)

    def text(theme: str) -> str:
        return " ".join(f"{theme}{draw.randrange(10_000)}" for _ in range(60))

    sft = [text("s") for _ in range(50)]
    web = (
        [f"{text('w')} {quoted}" for quoted in sft[:15]]
        + sft[15:25]
        + [text("w") for _ in range(60)]
    )
    for name, texts in (("web", web), ("sft", sft), ("code", [text("c") for _ in range(40)])):
        rows = [{"id": f"{name}{number}", "text": one} for number, one in enumerate(texts)]
        (folder / f"{name}.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


def made(folder: Path, *overrides: str) -> RunOutcome:
    return run_recipe(load_recipe(folder / "recipe.yaml", overrides), str(folder / "runs"))


def sets_of(folder: Path, kept: bool) -> dict[str, set[tuple[object, ...]]]:
    texts = {
        name: [
            orjson.loads(line)["text"]
            for line in (folder / f"{name}.jsonl").read_bytes().splitlines()
        ]
        for name in ("web", "sft", "code")
    }
    if kept:
        texts["sft"] = [text for text in texts["sft"] if text not in set(texts["web"])]
    return {name: set().union(*(shingles(text) for text in found)) for name, found in texts.items()}


def test_with_every_shingle_the_table_holds_the_true_shares(folder: Path) -> None:
    outcome = made(folder)
    found = collect(outcome.store, outcome.record)
    for samples, kept in ((found.overlap.read, False), (found.overlap.kept, True)):  # type: ignore[union-attr]
        truth = sets_of(folder, kept)
        assert {name: len(sample.hashes) for name, sample in samples.items()} == {
            name: len(one) for name, one in truth.items()
        }
    rows = Page(render(outcome.record, found)).rows
    read, kept_sets = sets_of(folder, False), sets_of(folder, True)
    shares = [100 * len(sets["sft"] & sets["web"]) / len(sets["sft"]) for sets in (read, kept_sets)]
    assert shares[0] > 40 > shares[1] > 30  # whole copies went, quotations stay
    shown = [
        row for row in rows if row[0] == "sft" and len(row) == 5 and row[3] == "" and "to" in row[2]
    ]
    assert [row[2].split(" | ")[0] for row in shown] == [f"{share:.1f} %" for share in shares]
    assert [row[4].split(" | ")[0] for row in shown] == ["0 %", "0 %"]


def test_the_samples_do_not_depend_on_chunks_and_a_coarser_one_is_near(folder: Path) -> None:
    fine, whole, coarse = (
        made(folder),
        made(folder, "corpus.chunk_mib=4"),
        made(folder, "corpus.stages.0.source_overlap.scale=8"),
    )
    samples = [collect(outcome.store, outcome.record).overlap for outcome in (fine, whole, coarse)]
    for name in ("web", "sft", "code"):
        one, other, thin = (sample.read[name] for sample in samples)  # type: ignore[union-attr]
        assert one.hashes.tolist() == other.hashes.tolist()
        assert thin.hashes.tolist() == one.hashes[one.hashes < 2**61].tolist()
        assert thin.distinct == pytest.approx(one.distinct, rel=4 / len(thin.hashes) ** 0.5)


def test_a_report_without_the_stage_has_no_such_section(folder: Path) -> None:
    outcome = made(folder, "corpus.stages=[exact_dedup]")
    assert 'id="overlap"' not in render(outcome.record, collect(outcome.store, outcome.record))
