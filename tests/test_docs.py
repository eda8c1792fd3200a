"""The documents are held to the code: columns, settings, commands, links, and examples that run."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from pydantic import BaseModel

from artifacts import schemas
from dedup.index.files import (
    BatchRecord,
    IndexHead,
    IndexSettings,
    InputRecord,
    TextFile,
    Texts,
    kept_schema,
    removed_schema,
)
from mixtures.plan.format import (
    Ancestor,
    Context,
    Left,
    PinnedPart,
    PinnedSource,
    Plan,
    Segment,
    Skip,
    SourceContext,
)
from mixtures.spec.phase import PhaseSpec, Preset
from mixtures.spec.presets import PRESETS as MIXTURES
from mixtures.spec.spec import MixtureSpec
from pipelines.commands.app import app
from pipelines.readers import FORMATS
from pipelines.recipe.after import EvaluateSettings, ExportAfter, TaskFiles
from pipelines.recipe.fields import Branch, Corpus, ReadLimits, Recipe, Source
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import UNTIL
from pipelines.run.work_plan import plan_corpus, plan_steps
from pipelines.shards.settings import ShardSettings, TokenizerSettings
from pipelines.shards.split import Split
from pipelines.signals.datatrove_blocks import BLOCKS
from pipelines.signals.rule_sets import RULE_SETS
from pipelines.stages import STAGES
from pipelines.stages.base import StageSettings
from pipelines.stages.chunk_steps import MeasureStep
from pipelines.stages.language import MEMBERS
from tokenizer.shards.format import encoded_schema, shard_schema
from tokenizer.shards.manifest import PartRecord, SourceManifest, Tombstone
from tokenizer.shards.part_index import PartIndex
from trainer.checkpoints.state import CheckpointState, FileRecord, Stretch
from trainer.loop.settings import ModelSettings, TrainSettings
from trainer.optimizer.rule import UpdateCount
from trainer.optimizer.schedules import DecaySpec, ScheduleSpec
from trainer.shapes.parameter_counts import count_parameters
from trainer.shapes.presets import PRESETS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "benchmarks" / "README.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
)
COLUMN_HEADER = ("column", "type", "nulls", "meaning")
FIELD_HEADER = ("field", "default", "effect")

Column = tuple[str, str, bool]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    """Body of each heading, down to the next heading of any level; code blocks hold no headings."""
    plain = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    pieces = re.split(r"^#{1,6} (.+)$", plain, flags=re.M)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def tables(text: str, header: tuple[str, ...]) -> list[list[tuple[str, ...]]]:
    """Rows of every markdown table with that header, back quotes removed."""
    found: list[list[tuple[str, ...]]] = []
    rows: list[tuple[str, ...]] | None = None
    for line in text.splitlines():
        cells = (
            tuple(cell.strip() for cell in line.strip().strip("|").split("|"))
            if line.startswith("|")
            else ()
        )
        if cells == header:
            rows = []
            found.append(rows)
        elif not cells:
            rows = None
        elif rows is not None and set("".join(cells)) - set("-: "):
            rows.append(tuple(cell.replace("`", "") for cell in cells))
    return found


def spelled(kind: object) -> str:
    """Arrow's spelling of a type; files written by Parquet name a list's values otherwise than
    Arrow does.
    """
    return str(kind).replace("element:", "item:")


def columns(fields: pa.Schema | list[pa.Field]) -> list[Column]:
    return [(field.name, spelled(field.type), field.nullable) for field in fields]


@pytest.fixture(scope="module")
def documented() -> dict[str, list[list[Column]]]:
    """Tables of columns in docs/formats.md by the format named in the heading above them."""
    found: dict[str, list[list[Column]]] = {}
    for heading, body in sections(text_of("docs/formats.md")).items():
        name = re.search(r"`(\w+/\d+)`", heading)
        for table in tables(body, COLUMN_HEADER):
            assert name is not None, (
                f"a table of columns stands under {heading!r}, which names no format"
            )
            found.setdefault(name[1], []).append(
                [(row[0], row[1], row[2] == "yes") for row in table]
            )
    return found


# -- formats ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["DOCUMENTS", "REWRITE", "SELECTION", "EVIDENCE", "SPANS", "QUARANTINE"]
)
def test_every_column_of_a_schema_is_documented_with_its_type(
    name: str, documented: dict[str, list[list[Column]]]
) -> None:
    schema = getattr(schemas, name)
    assert columns(schema) in documented[schema.metadata[schemas.FORMAT_KEY].decode()]


@pytest.mark.parametrize("name", ["INSTRUCTIONS", "PREFERENCES"])
def test_the_further_columns_of_documents_have_tables_of_their_own(
    name: str, documented: dict[str, list[list[Column]]]
) -> None:
    schema = getattr(schemas, name)
    further = columns(schema)[len(schemas.DOCUMENTS) :]
    assert further
    assert further in documented[schema.metadata[schemas.FORMAT_KEY].decode()]


def test_shards_are_documented_and_encoded_chunks_have_the_same_columns(
    documented: dict[str, list[list[Column]]],
) -> None:
    assert columns(shard_schema(pa.uint16())) in documented["shard/1"]
    assert columns(encoded_schema(pa.uint16())) == columns(shard_schema(pa.uint16()))


def test_the_tables_of_the_index_of_near_duplicates_are_documented(
    documented: dict[str, list[list[Column]]],
) -> None:
    assert columns(kept_schema(1)) in documented["index_kept/1"]
    assert columns(removed_schema()) in documented["index_removed/1"]


def test_every_column_a_measure_makes_is_documented(
    workshop: Path, documented: dict[str, list[list[Column]]]
) -> None:
    loaded = load_recipe(
        workshop / "recipe.yaml",
        ["corpus.stages.0=datatrove: {block: RegexFilter, settings: {regex_exp: a}}"],
    )
    measures = [step for step in plan_steps(loaded) if isinstance(step, MeasureStep)]
    assert {step.rule.__class__.__name__ for step in measures} >= {
        "SizeMeasure",
        "GopherMeasure",
        "BandKeysMeasure",
        "DatatroveMeasure",
    }
    for step in measures:
        assert columns(step.rule.fields()) in documented["signals/1"], step.name


def test_every_table_a_run_writes_is_documented(
    workshop: Path, documented: dict[str, list[list[Column]]]
) -> None:
    run = workshop / "runs" / "starter"
    known = {tuple(table) for tables_of_format in documented.values() for table in tables_of_format}
    known.add(tuple(columns(schemas.INSTRUCTIONS)))
    files = sorted(run.rglob("*.parquet"))
    assert len(files) > 20
    for path in files:
        schema = pq.read_schema(path)
        found = columns(schema)
        if [field.name for field in schema][:2] == ["id", "text_hash"] and schema.metadata[
            schemas.FORMAT_KEY
        ] == b"signals/1":
            assert tuple(found[:2]) in known
            found = found[2:]
        assert tuple(found) in known, path.relative_to(run)


def test_every_format_version_is_in_the_table_of_versions() -> None:
    body = sections(text_of("docs/formats.md"))["Versions and what a reader does with them"]
    for name, version in schemas.VERSIONS.items():
        assert re.search(rf"\| {name} \| {version} \|", body), name


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        *(("source.json: `source/2`", model) for model in (SourceManifest, PartRecord, Tombstone)),
        ("Index of a part: `part/1`", PartIndex),
        *(
            ("plan.json: `plan/2`", model)
            for model in (
                Plan,
                PinnedSource,
                PinnedPart,
                Context,
                SourceContext,
                Left,
                Segment,
                Ancestor,
                Skip,
            )
        ),
        *(
            ("index.json: `index/1`", model)
            for model in (IndexHead, IndexSettings, BatchRecord, Texts, TextFile, InputRecord)
        ),
        *(
            ("Checkpoints: `checkpoint/1`", model)
            for model in (CheckpointState, Stretch, FileRecord)
        ),
    ],
)
def test_every_field_of_manifests_plans_and_checkpoints_is_documented(
    heading: str, model: type[BaseModel]
) -> None:
    body = sections(text_of("docs/formats.md"))[heading]
    assert {name for name in model.model_fields if f"`{name}`" not in body} == set()


def test_every_field_of_an_optimizers_count_is_documented() -> None:
    body = sections(text_of("docs/formats.md"))["Checkpoints: `checkpoint/1`"]
    assert {one.name for one in fields(UpdateCount) if f"`{one.name}`" not in body} == set()


def test_every_field_of_the_run_record_and_of_ledgers_is_documented(workshop: Path) -> None:
    record = orjson.loads((workshop / "runs" / "starter" / "run.json").read_bytes())
    found = sections(text_of("docs/formats.md"))
    spoken = (
        set(record)
        | set(record["chunks"][0])
        | set(record["tokenizer"])
        | set(record["shards"]["web"])
        | set(record["encoded"]["web"])
    )
    assert {name for name in spoken if f"`{name}`" not in found["run.json"]} == set()
    assert {name for name in record["ledgers"][0] if f"`{name}`" not in found["Ledgers"]} == set()


def test_every_folder_of_a_run_is_named(workshop: Path) -> None:
    body = text_of("docs/formats.md").split("## The run folder")[1].split("\n## ")[0]
    areas = {
        path.relative_to(workshop / "runs" / "starter").parts[0]
        for path in (workshop / "runs" / "starter").rglob("*")
        if path.is_file()
    }
    assert {area for area in areas if area not in body} == set()


def test_every_reason_for_quarantine_is_documented(root: Path) -> None:
    body = (
        sections(text_of("docs/formats.md"))["Quarantine: `quarantine/1`"]
        + sections(text_of("docs/formats.md"))["Ledgers"]
    )
    reasons = set()
    for path in (root / "pipelines" / "readers").rglob("*.py"):
        reasons |= set(
            re.findall(
                r'^[A-Z][A-Z_0-9]+ = "([a-z0-9]+(?:_[a-z0-9]+)+)"$',
                path.read_text(encoding="utf-8"),
                flags=re.M,
            )
        )
    assert len(reasons) > 15
    assert {reason for reason in reasons - {"warc_record_id"} if f"`{reason}`" not in body} == set()


# -- recipes ------------------------------------------------------------------------------------


def check_fields(model: type[BaseModel], body: str) -> None:
    """Assert that the section's table of fields has every field of the model, with its default."""
    rows = {row[0]: row[1] for table in tables(body, FIELD_HEADER) for row in table}
    shared = (
        set()
        if not issubclass(model, StageSettings) or model is StageSettings
        else set(StageSettings.model_fields)
    )
    own = {name: field for name, field in model.model_fields.items() if name not in shared}
    assert set(rows) == set(own)
    for name, field in own.items():
        if field.is_required():
            assert rows[name] == "required", name
        elif isinstance(field.default, int | float) and not isinstance(field.default, bool):
            assert float(rows[name].replace(",", "")) == float(field.default), name
        elif isinstance(field.default, str):
            assert rows[name] == field.default, name
        else:
            assert rows[name], name


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("Recipe", Recipe),
        ("Corpus", Corpus),
        ("Source", Source),
        ("Limits of a corpus", ReadLimits),
        ("Tokenizer", TokenizerSettings),
        ("Shards", ShardSettings),
        ("Bands", Split),
        ("Mixture", MixtureSpec),
        ("Phase", PhaseSpec),
        ("Mixture preset", Preset),
        ("Branch", Branch),
        ("Evaluate", EvaluateSettings),
        ("Task", TaskFiles),
        ("Export", ExportAfter),
        ("Model", ModelSettings),
        ("Train", TrainSettings),
        ("Schedule", ScheduleSpec),
        ("Decay", DecaySpec),
        ("Stages", StageSettings),
        *STAGES.items(),
    ],
)
def test_every_setting_is_documented_with_its_default_and_no_other_is(
    heading: str, model: type[BaseModel]
) -> None:
    check_fields(model, sections(text_of("docs/recipes.md"))[heading])


def test_every_rule_threshold_reason_and_choice_is_documented() -> None:
    found = sections(text_of("docs/recipes.md"))
    rows = {
        row
        for table in tables(found["heuristics"], ("reason", "threshold", "drops when"))
        for row in table
    }
    for name, rules in RULE_SETS.items():
        assert f"`{name}`" in found["heuristics"]
        for rule in rules.rules:
            assert any(
                row[0] == rule.reason and row[1] == f"{rule.option}: {rule.threshold:.15g}"
                for row in rows
            ), (name, rule.option)
    for language, members in MEMBERS.items():
        assert (
            f"| `{language}` | {', '.join(f'`{member}`' for member in members)} |"
            in found["language"]
        )
    assert {block for block in BLOCKS if f"`{block}`" not in found["datatrove"]} == set()
    assert {name for name in FORMATS if f"`{name}`" not in found["Source"]} == set()
    assert {
        name for name in UNTIL if f"`{name}`" not in found["Overriding from the command line"]
    } == set()


def test_every_preset_is_documented_with_its_shape() -> None:
    header = ("preset", "width", "layers", "heads", "kv heads", "ff", "non-embedding parameters")
    (rows,) = tables(sections(text_of("docs/recipes.md"))["Model"], header)
    shapes = {
        name: (c.width, c.layers, c.heads, c.kv_heads, c.ff, count_parameters(c).non_embedding)
        for name, c in PRESETS.items()
    }
    assert {row[0]: tuple(int(cell.replace(",", "")) for cell in row[1:]) for row in rows} == shapes


def test_every_entry_of_the_mixture_presets_is_documented_with_its_share() -> None:
    header = ("entry", "`minicpm-stable`", "`minicpm-decay`")
    (rows,) = tables(sections(text_of("docs/recipes.md"))["Mixture preset"], header)
    shown = {
        name: {row[0]: row[column] for row in rows if row[column] != "-"}
        for column, name in enumerate(MIXTURES, 1)
    }
    assert shown == {
        name: {
            entry: facts.basis
            if facts.percent is None
            else f"{facts.percent:.1f}" + (" (remainder)" if facts.basis == "remainder" else "")
            for entry, facts in entries.items()
        }
        for name, entries in MIXTURES.items()
    }


@pytest.mark.parametrize("number", range(4))
def test_the_recipes_of_the_docs_are_valid_and_find_their_files(
    number: int, workshop: Path, tmp_path: Path
) -> None:
    blocks = fenced("docs/recipes.md", "yaml")
    recipes = [block for block in blocks if not re.match(r"mixture:|weights:", block)]
    assert len(recipes) == 4
    recipe = recipes[number]
    (tmp_path / "recipe.yaml").write_text(recipe)
    folder = ROOT / "examples" if "root: examples" in recipe else workshop
    loaded = load_recipe(tmp_path / "recipe.yaml", [f"corpus.root={folder}"])
    assert plan_corpus(loaded, {}).chunks


@pytest.mark.parametrize("number", range(4))
def test_the_mixtures_of_the_docs_are_valid_parts_of_a_recipe(number: int, tmp_path: Path) -> None:
    blocks = [
        block
        for block in fenced("docs/recipes.md", "yaml")
        if re.match(r"mixture:|weights:", block)
    ]
    assert len(blocks) == 4
    sources = "".join(
        f"    - {{name: {name}, paths: [{name}.jsonl]}}\n"
        for name in ("web-en", "web-zh", "code", "sft")
    )
    block = blocks[number]
    if block.startswith("weights:"):  # fields of a phase
        block = "mixture:\n  phases:\n    - name: only\n      tokens: 1000\n" + "".join(
            f"      {line}\n" for line in block.splitlines()
        )
    (tmp_path / "recipe.yaml").write_text(f"name: part\ncorpus:\n  sources:\n{sources}{block}")
    assert load_recipe(tmp_path / "recipe.yaml").recipe.mixture


# -- commands -----------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, str]]:
    """(page, command line) of every ``windtunnel`` call in the pages, in shell blocks and in back
    quotes.
    """
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        blocks = "\n".join(fenced(str(path.relative_to(ROOT)), "sh"))
        inline = re.findall(r"`(windtunnel [^`]+)`", text)
        for line in [*blocks.splitlines(), *inline]:
            if line.startswith("windtunnel "):
                yield path.name, line


def test_every_command_and_option_in_the_pages_exists() -> None:
    top = typer.main.get_command(app)
    seen = list(commands())
    assert len(seen) > 15
    for page, line in seen:
        words = line.split()[1:]
        command: Any = top
        while words and hasattr(command, "commands") and not words[0].startswith("--"):
            assert words[0] in command.commands, f"{page}: {line}"
            command = command.commands[words.pop(0)]
        options = {name for parameter in command.params for name in parameter.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= options, f"{page}: {line}"


def test_make_targets_in_the_pages_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", text_of("Makefile"), flags=re.M))
    for path in PAGES:
        named = set(
            re.findall(r"(?:^|`)make ([a-z]+)", path.read_text(encoding="utf-8"), flags=re.M)
        )
        assert named <= targets, path.name


# -- paths --------------------------------------------------------------------------------------


def home_of(name: str) -> Path | None:
    """The file of a module, or of a package."""
    place = ROOT / name.replace(".", "/")
    return next(
        (path for path in (place.with_suffix(".py"), place / "__init__.py") if path.exists()), None
    )


def test_every_path_of_the_house_in_the_pages_exists() -> None:
    floor = "artifacts|dedup|tokenizer|mixtures|trainer|pipelines"
    seen = 0
    for page in PAGES:
        for path in re.findall(
            rf"(?<![\w/])(?:{floor})/(?:[a-z_]+/)*(?:[a-z_]+\.py|(?=[` ]))", page.read_text()
        ):
            seen += 1
            assert (ROOT / path).exists(), f"{page.name}: {path}"
    assert seen > 40


def test_the_changelog_says_where_every_moved_module_and_name_is_now() -> None:
    modules = tables(text_of("CHANGELOG.md"), ("module before", "now"))
    names = tables(text_of("CHANGELOG.md"), ("before", "moved to another module", "now"))
    assert len(modules) == len(names) == 1
    for old, new in modules[0]:
        assert home_of(new) is not None, new
        assert home_of(old) is None or home_of(old) != home_of(new), old
    for _, listed, new in names[0]:
        home = home_of(new)
        assert home is not None, new
        for name in listed.split(", "):
            assert re.search(
                rf"^(?:def |class |)({name})\b", home.read_text(encoding="utf-8"), flags=re.M
            ), f"{new}: {name}"


# -- links and examples -------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """Anchors a Markdown viewer gives to the headings of a page."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in sections(text)
    }


@pytest.mark.parametrize(
    "page",
    PAGES,
    ids=[path.name if path.parent.name != "benchmarks" else "benchmarks" for path in PAGES],
)
def test_relative_links_resolve(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path.read_text(encoding="utf-8")), target


def fenced(name: str, language: str) -> list[str]:
    """Contents of a page's code blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(name), flags=re.S | re.M)


def of_a_training(example: str) -> bool:
    """Whether an example speaks of a run that trained."""
    return "runs/trained" in example or '"trained")' in example


EXAMPLES = [
    pytest.param(page, number, marks=[pytest.mark.slow] if of_a_training(example) else [])
    for path in PAGES
    if path.parent.name != "tutorials"  # their blocks are run in order, by tests of their own
    for page in [str(path.relative_to(ROOT))]
    for number, example in enumerate(fenced(page, "python"))
]


@pytest.mark.parametrize(("page", "number"), EXAMPLES)
def test_the_examples_run(
    page: str,
    number: int,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    example = tmp_path / "example.py"
    example.write_text(fenced(page, "python")[number])
    trained = of_a_training(example.read_text())
    monkeypatch.chdir(request.getfixturevalue("trained_workshop" if trained else "workshop"))
    kinds = dict(STAGES)
    try:
        runpy.run_path(str(example), run_name="example")
    finally:
        STAGES.clear()
        STAGES.update(kinds)
        sys.modules.pop("example", None)
    printed = capsys.readouterr().out
    promises = re.findall(r"print\(.*\)  # (.*)$", example.read_text(), flags=re.M)
    lines = iter(printed.splitlines())
    assert [promise for promise in promises if promise not in lines] == [], printed


def test_the_pages_speak_of_the_project_alone() -> None:
    for path in PAGES:
        assert not re.search(r"/work/|/tmp/", path.read_text(encoding="utf-8")), path.name
