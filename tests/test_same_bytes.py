"""The comparison of two checkouts' outputs notices what it should, on small folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.byte_comparison.content_keys import moved_units
from benchmarks.byte_comparison.inputs import STAGES_RECIPE
from benchmarks.byte_comparison.left_out import (
    BY_NATURE,
    OF_A_RESUMED_TRAINING,
    ON_A_SECOND_CALL,
    PROCESS,
    SOURCE,
    TIMES,
)
from benchmarks.byte_comparison.trees import compare_trees, different
from pipelines.recipe.load import load_recipe
from pipelines.stages import STAGES

KEY, OTHER_KEY = "0123456789abcdef0123", "fedcba98765432100000"
STATE = "tiny/training/KEY/checkpoints/step-00000025/state.json"
LEDGER: dict[str, Any] = {"step": "read", "units": 2, "computed": 2, "seconds": 1.5, "facts": {}}

Tree = dict[str, bytes]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "old", tmp_path / "new"


def write(folder: Path, files: Tree) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def encoded(value: object) -> bytes:
    return json.dumps(value, indent=2).encode()


def run_folder() -> Tree:
    return {
        f"tiny/signals/size/{KEY}/signals.parquet": b"PAR1 columns PAR1",
        f"tiny/signals/size/{KEY}/manifest.json": encoded({"inputs": {"version": 1}}),
        "tiny/ledgers/01-read.json": encoded(LEDGER),
        "tiny/run.json": encoded({"name": "tiny", "ledgers": [LEDGER]}),
        "tiny/.lock": b"process 1 on host",
        STATE: encoded({"step": 25, "history": [{"source_digest": "aa"}], "checksum": "bb"}),
    }


def test_equal_folders_are_the_same_and_what_is_left_out_is_counted_by_reason(
    folders: tuple[Path, Path],
) -> None:
    for folder in folders:
        write(folder, run_folder())
    compared = compare_trees(*folders)
    assert compared.differences == []
    assert compared.files == 5
    assert compared.bytes == sum(
        len(content) for name, content in run_folder().items() if not name.endswith(".lock")
    )
    assert compared.left_out == {PROCESS: 1}
    assert compared.fields_left_out == {TIMES: 2, SOURCE: 1}


def test_one_other_byte_is_noticed_with_its_place(folders: tuple[Path, Path]) -> None:
    name = f"tiny/signals/size/{KEY}/signals.parquet"
    write(folders[0], run_folder())
    write(folders[1], {**run_folder(), name: b"PAR1 columms PAR1"})
    (difference,) = compare_trees(*folders).differences
    assert difference.path == name
    assert difference.what == "byte 10 of 17"


def test_a_byte_more_at_the_end_is_noticed(folders: tuple[Path, Path]) -> None:
    write(folders[0], {"tiny/plan.json": b"{}\n"})
    write(folders[1], {"tiny/plan.json": b"{}\n\n"})
    (difference,) = compare_trees(*folders).differences
    assert difference.what == "byte 3 of 3 (4 in the new file)"


def test_a_missing_file_is_noticed_on_either_side(folders: tuple[Path, Path]) -> None:
    write(folders[0], {"tiny/plan.json": b"{}", "tiny/gone.bin": b"a"})
    write(folders[1], {"tiny/plan.json": b"{}", "tiny/came.bin": b""})
    found = {one.path: one.what for one in compare_trees(*folders).differences}
    assert found == {
        "tiny/came.bin": "only in the new folder",
        "tiny/gone.bin": "only in the old folder",
    }


def test_a_folder_that_is_not_there_is_an_error(folders: tuple[Path, Path]) -> None:
    write(folders[0], {"plan.json": b"{}"})
    with pytest.raises(FileNotFoundError):
        compare_trees(*folders)


def test_masked_fields_do_not_count_and_every_other_field_of_the_file_does(
    folders: tuple[Path, Path],
) -> None:
    name = "tiny/ledgers/01-read.json"
    write(folders[0], {name: encoded(LEDGER)})
    write(folders[1], {name: encoded({**LEDGER, "seconds": 72.25})})
    assert compare_trees(*folders).differences == []
    write(folders[1], {name: encoded({**LEDGER, "seconds": 72.25, "units": 3})})
    (difference,) = compare_trees(*folders).differences
    assert difference.what == "field units: 2 -> 3"
    write(folders[1], {name: encoded({**LEDGER, "more": None})})
    (difference,) = compare_trees(*folders).differences
    assert difference.what == "field more: only in the new one"


def test_spelling_order_and_spacing_of_a_file_with_masked_fields_count(tmp_path: Path) -> None:
    name = "tiny/ledgers/01-read.json"
    leavings = [leaving for leaving in BY_NATURE if leaving.names(name)]
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_bytes(b'{"a": 1.0, "b": "x", "seconds": 2}')
    for content, same in (
        (b'{"a": 1.0, "b": "x", "seconds": 3.5e-2}', True),
        (b'{"a": 1.00, "b": "x", "seconds": 2}', False),
        (b'{"b": "x", "a": 1.0, "seconds": 2}', False),
        (b'{"a":1.0, "b": "x", "seconds": 2}', False),
        (b'{"a": 1.0, "b": "x", "seconds": 2}\n', False),
        (b'{"a": "1.0", "b": "x", "seconds": 2}', False),
        (b'{"a": 1.0, "b": "x", "seconds"', False),
    ):
        new.write_bytes(content)
        assert (different(old, new, leavings) is None) is same, content


def test_only_the_states_own_checksum_is_left_out(folders: tuple[Path, Path]) -> None:
    def state(digest: str, own: str, weights: str) -> Tree:
        files = {"weights.safetensors": {"checksum": weights}}
        history = [{"from_step": 0, "source_digest": digest}]
        return {STATE: encoded({"files": files, "history": history, "checksum": own})}

    write(folders[0], state("aa", "bb", "cc"))
    write(folders[1], state("dd", "ee", "cc"))
    assert compare_trees(*folders).differences == []
    write(folders[1], state("dd", "ee", "ff"))
    (difference,) = compare_trees(*folders).differences
    assert difference.what == 'field files.weights.safetensors.checksum: "cc" -> "ff"'


def test_files_of_a_kind_that_no_line_names_are_compared_by_bytes(
    folders: tuple[Path, Path],
) -> None:
    names = ("tiny/new-kind.xyz", "tiny/shards/work/.locked", "tiny/metrics/times.jsonl", "seconds")
    write(folders[0], dict.fromkeys(names, b"one"))
    write(folders[1], dict.fromkeys(names, b"two"))
    compared = compare_trees(*folders)
    assert {difference.path for difference in compared.differences} == set(names)
    assert not compared.left_out


def test_a_second_call_may_make_nothing_and_a_resumed_training_has_more_stretches(
    folders: tuple[Path, Path],
) -> None:
    again = {**LEDGER, "computed": 0, "seconds": 0.0}
    record = {"ledgers": [again], "name": "tiny"}
    write(folders[0], run_folder())
    write(folders[1], {**run_folder(), "tiny/run.json": encoded(record)})
    assert len(compare_trees(*folders).differences) == 1
    assert compare_trees(*folders, ON_A_SECOND_CALL).differences == []
    history = [{"source_digest": "aa"}, {"source_digest": "cc"}]
    resumed = {STATE: encoded({"step": 25, "history": history, "checksum": "dd"})}
    write(folders[1], resumed)
    assert len(compare_trees(*folders, ON_A_SECOND_CALL).differences) == 1
    assert compare_trees(*folders, OF_A_RESUMED_TRAINING).differences == []


def test_another_content_key_is_explained_by_the_inputs_that_differ(
    folders: tuple[Path, Path],
) -> None:
    def unit(step: str, key: str, **inputs: object) -> Tree:
        place = f"tiny/signals/{step}/{key}"
        return {
            f"{place}/manifest.json": encoded({"inputs": inputs}),
            f"{place}/signals.parquet": b"PAR1",
        }

    text = ("aa" * 16, "bb" * 16)
    rules = [{"rule": {"name": "size", "version": version}} for version in (1, 2)]
    write(folders[0], {**unit("after", KEY, text=text[0]), **unit("size", KEY, **rules[0])})
    write(
        folders[1],
        {**unit("after", OTHER_KEY, text=text[1]), **unit("size", OTHER_KEY, **rules[1])},
    )
    lines = moved_units(*folders, compare_trees(*folders).differences)
    assert lines == [
        "tiny/signals/size: 1 units lie under other keys: rule.version: 1 -> 2",
        f'tiny/signals/after: 1 units lie under other keys: text: "{text[0]}" -> "{text[1]}"',
    ]
    write(folders[1], unit("size", KEY, **rules[0]))  # the new one went on where the old one was
    assert moved_units(*folders, compare_trees(*folders).differences)[0] == lines[0]


def test_the_recipe_of_all_stages_is_valid_and_has_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "stages.yaml").write_text(STAGES_RECIPE)
    loaded = load_recipe(tmp_path / "stages.yaml")
    assert {stage.kind for _, stage in loaded.stages} == set(STAGES)
