"""What is run in each checkout: commands over the same inputs, into the same folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .inputs import QUICKSTART, STAGES, TINY

WORKERS = ("--workers", "2")
ENGLISH = "examples/corpus/web-en"
CHINESE = "examples/corpus/web-zh"

# a command of the checkout at hand, as its arguments; returns what it printed
Call = Callable[..., str]


@dataclass(frozen=True)
class Case:
    """One line of the result. ``recipe``: where the case is a run of one, below the inputs."""

    name: str
    what: str
    run: Callable[[Call, Path, Path], None]
    recipe: str | None = None


def of_recipe(name: str, what: str, recipe: str) -> Case:
    """A whole run of a recipe, with its trainings."""

    def run(call: Call, inputs: Path, place: Path) -> None:
        call("run", inputs / recipe, "--runs", place, *WORKERS)

    return Case(name, what, run, recipe)


def dedup_run(call: Call, inputs: Path, place: Path) -> None:
    """Deduplicate files on their own: JSON Lines with measured quality, and Parquet."""
    english, planted = inputs / ENGLISH, inputs / "planted"
    files = [english / "etcd-docs.jsonl.zst", english / "cpp-docs-compiler-errors.jsonl.zst"]
    files += [inputs / CHINESE / "vue-docs-zh.jsonl.zst", planted / "*.jsonl", planted / "*.gz"]
    call("dedup", "run", *files, "--output", place / "jsonl", "--quality", 200, *WORKERS)
    files = [english / "etcd-docs.jsonl.zst", planted / "copies.jsonl"]
    kept = ("--format", "parquet", "--compression", "zstd", "--keep", "date desc, id")
    near = ("--verify", 0.8, "--bands", 20, "--rows", 10, "--id-field", "id")
    call("dedup", "run", *files, "--output", place / "parquet", *kept, *near, *WORKERS)


def dedup_index(call: Call, inputs: Path, place: Path) -> None:
    """Two batches, the second with copies of the first; another index merged; then a look."""
    english, planted = inputs / ENGLISH, inputs / "planted"
    index, other = place / "index", place / "other"

    def add(to: Path, name: str, *files: Path | str) -> None:
        call("dedup", "index", "add", to, *files, "--output", place / name, *WORKERS)

    add(index, "batch-1", english / "etcd-docs.jsonl.zst", "--id-field", "id")
    add(
        index,
        "batch-2",
        planted / "copies.jsonl",
        planted / "broken.jsonl",
        "--keep",
        "date desc, id",
        "--format",
        "jsonl",
    )
    add(other, "other-1", planted / "passages.jsonl.gz", inputs / CHINESE / "vue-docs-zh.jsonl.zst")
    call("dedup", "index", "merge", index, other, "--output", place / "batch-3")
    listed = call("dedup", "index", "list", index, "--check", "--json")
    (place / "list.json").write_text(listed, encoding="utf-8")
    matched = call("dedup", "index", "match", index, planted / "rows.parquet", "--json")
    (place / "match.jsonl").write_text(matched, encoding="utf-8")


def third_batch(call: Call, inputs: Path, place: Path) -> None:
    """Check an index that is there and add documents, some of them copies of older ones."""
    files = (inputs / ENGLISH / "digitalgov.jsonl.zst", inputs / "planted" / "rows.parquet")
    call("dedup", "index", "list", place / "index", "--check")
    call("dedup", "index", "add", place / "index", *files, "--output", place / "batch-4", *WORKERS)


CASES = (
    of_recipe("tiny", "recipes/tiny.yaml, with its training", TINY),
    of_recipe("stages", "every stage, quality bands, a training with a decay and a branch", STAGES),
    Case("dedup-run", "files deduplicated on their own, as JSON Lines and as Parquet", dedup_run),
    Case("dedup-index", "two batches added to an index, another index merged", dedup_index),
    of_recipe("quickstart", "recipes/quickstart.yaml, with its training", QUICKSTART),
)
