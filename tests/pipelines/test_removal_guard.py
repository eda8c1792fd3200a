"""A comparison that would remove most of a source stops the run, shows why, and costs nothing when
it is allowed after all.
"""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from artifacts.errors import UserError
from pipelines.commands.app import app
from pipelines.deduplicate.files import dedup_files
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import run_recipe

PAGE = " ".join(f"page{number}" for number in range(60))
RECIPE = """
name: guarded
corpus:
  sources:
    - {name: shop, paths: [shop.jsonl], id_field: id}
    - {name: books, paths: [books.jsonl], id_field: id}
    - {name: few, paths: [few.jsonl], id_field: id}
  stages:
    - exact_dedup
    - minhash_dedup: {verify: 0.5}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A shop of 150 pages of one template, 120 books without copies, and a source too small for a
    share.
    """
    turned = "\u202e<b>\x1b[31m"

    def write(name: str, texts: list[str]) -> None:
        rows = [{"id": f"{name}{number}", "text": text} for number, text in enumerate(texts)]
        (tmp_path / f"{name}.jsonl").write_bytes(
            b"".join(orjson.dumps(row) + b"\n" for row in rows)
        )

    write("shop", [f"{turned} {PAGE} item{number}" for number in range(150)])
    write("books", [" ".join(f"b{number}w{word}" for word in range(60)) for number in range(120)])
    write("few", [f"{PAGE} thing{number}" for number in range(20)])
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def test_it_names_source_share_clusters_pairs_line_and_fix(folder: Path) -> None:
    with pytest.raises(UserError) as caught:
        run_recipe(load_recipe(folder / "recipe.yaml"), str(folder / "runs"))
    error = caught.value
    said = str(error)
    assert "minhash_dedup removes 99.3 % of source 'shop': 149 of 150 documents" in error.message
    assert (error.field, error.line) == ("minhash_dedup.max_removed_share", 10)
    assert "149 for shop " in said.replace("  ", " ")
    assert said.count("similarity ") == 3
    assert "\\u202e" in said
    assert "\u202e" not in said
    assert "\x1b" not in said
    assert "max_removed_share: 1" in (error.fix or "")
    assert max(len(line) for line in said.splitlines()) < 300


def test_raising_the_limit_goes_on_without_comparing_again(folder: Path) -> None:
    with pytest.raises(UserError):
        run_recipe(load_recipe(folder / "recipe.yaml"), str(folder / "runs"))
    evidence = {
        path: path.stat().st_mtime_ns
        for path in (folder / "runs" / "guarded" / "evidence").rglob("*")
        if path.is_file()
    }
    allowed = load_recipe(
        folder / "recipe.yaml", ["corpus.stages.1.minhash_dedup.max_removed_share=1"]
    )
    outcome = run_recipe(allowed, str(folder / "runs"))
    ledger = next(ledger for ledger in outcome.ledgers if ledger.step == "minhash_dedup")
    assert ledger.computed == 0
    assert ledger.entry("shop").kept.documents == 1
    assert ledger.entry("few").kept.documents == 0  # too few for a share
    after = {path: path.stat().st_mtime_ns for path in evidence}
    assert after == evidence
    with pytest.raises(UserError):  # and lowering it again is seen, though everything is there
        run_recipe(load_recipe(folder / "recipe.yaml"), str(folder / "runs"))


def test_a_source_at_the_limit_passes(folder: Path) -> None:
    share = 149 / 150
    run_recipe(
        load_recipe(
            folder / "recipe.yaml", [f"corpus.stages.1.minhash_dedup.max_removed_share={share}"]
        ),
        str(folder / "runs"),
    )


def test_exact_copies_are_counted_as_well(folder: Path) -> None:
    rows = [{"id": f"e{number}", "text": "the same text"} for number in range(200)]
    (folder / "shop.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    with pytest.raises(UserError) as caught:
        run_recipe(load_recipe(folder / "recipe.yaml"), str(folder / "runs"))
    assert caught.value.field == "exact_dedup.max_removed_share"


def test_files_alone_name_the_parameter_and_their_command_the_option(folder: Path) -> None:
    paths = [f"{folder}/shop.jsonl", f"{folder}/books.jsonl"]
    with pytest.raises(UserError) as caught:
        dedup_files(paths, str(folder / "out"), id_field="id", verify=0.5, max_removed=0.5)
    assert caught.value.field == "max_removed"
    assert "max_removed=0.56" in (caught.value.fix or "")
    assert (caught.value.fix or "").endswith("else raise verify")
    options = ["--id-field", "id", "--verify", "0.5", "--max-removed", "0.5"]
    with pytest.raises(UserError) as caught:
        CliRunner().invoke(
            app,
            ["dedup", "run", *paths, "-o", str(folder / "out"), *options],
            catch_exceptions=False,
        )
    assert caught.value.field == "--max-removed"
    assert "--max-removed 0.56" in (caught.value.fix or "")
    assert (caught.value.fix or "").endswith("else raise --verify")
    done = dedup_files(paths, str(folder / "out"), id_field="id", verify=0.5, max_removed=0.56)
    assert done.kept.documents == 121


@pytest.mark.parametrize("share", [0, 1.1, -1, "most"])
def test_a_share_that_is_none_is_refused(folder: Path, share: object) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(
            folder / "recipe.yaml", [f"corpus.stages.1.minhash_dedup.max_removed_share={share}"]
        )
    assert "max_removed_share" in (caught.value.field or "")
