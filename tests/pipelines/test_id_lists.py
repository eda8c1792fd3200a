"""Lists of ids as users write them are read in one place, and so are the names of held-out shards."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from artifacts.errors import UserError
from artifacts.ids import document_ids, native_key
from mixtures.spec.bands import HELD_OUT, held_out_of, is_held_out, shown_beside
from pipelines.shards.id_lists import read_ids
from tests.source_trees import modules_of_floors


def test_both_forms_are_read_each_once_and_comments_are_not(tmp_path: Path) -> None:
    listed = tmp_path / "ids.txt"
    listed.write_text(f"# asked for\n\n{'A' * 32}\n  web:page 7\n{'a' * 32}\nweb:page 7\n")
    named = document_ids("web", [native_key("page 7")])[0].as_py()
    assert read_ids(listed, ["web"]) == {bytes.fromhex("a" * 32): "A" * 32, named: "web:page 7"}
    assert read_ids(listed, None) == read_ids(listed, ["web"])
    listed.write_text("# nobody\n")
    assert read_ids(listed, ["web"]) == {}


def test_a_byte_order_mark_and_what_unicode_calls_a_line_end_are_no_part_of_it(
    tmp_path: Path,
) -> None:
    listed = tmp_path / "ids.txt"
    listed.write_text(f"\ufeff{'a' * 32}\r\nweb:one\u2028two\x0cthree\n", encoding="utf-8")
    named = document_ids("web", [native_key("one\u2028two\x0cthree")])[0].as_py()
    assert list(read_ids(listed, ["web"])) == [bytes.fromhex("a" * 32), named]


@pytest.mark.parametrize(
    "entry", [" ".join(["ab"] * 16), "web:", "a" * 33, "\uff11" * 32, f"x{'y' * 10_000}"]
)
def test_what_only_looks_like_an_id_is_none(tmp_path: Path, entry: str) -> None:
    listed = tmp_path / "ids.txt"
    listed.write_text(f"{entry}\n", encoding="utf-8")
    with pytest.raises(UserError, match="not a document id") as caught:
        read_ids(listed, ["web"])
    assert len(str(caught.value.found)) < 200


def test_the_first_line_that_is_no_id_is_named_with_the_numbers_of_the_others(
    tmp_path: Path,
) -> None:
    listed = tmp_path / "ids.txt"
    listed.write_text(f"{'1' * 32}\nwep:page\n\n{'2' * 31}\nnonsense\n")
    with pytest.raises(UserError) as caught:
        read_ids(listed, ["web"])
    error = caught.value
    assert (error.file, error.line, error.found) == (str(listed), 2, "wep")
    assert error.nearest == "web"
    assert error.message == "no such source (and 2 more: lines 4, 5)"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, reason in (("nowhere", "No such file"), ("binary", "not UTF-8")):
        with pytest.raises(UserError, match=reason) as caught:
            read_ids(tmp_path / name, None)
        assert caught.value.field == "ids"


def test_there_is_one_reader_of_ids() -> None:
    definitions = [
        name
        for name, tree in modules_of_floors()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.lstrip("_") == "read_ids"
    ]
    assert definitions == ["pipelines/shards/id_lists.py"]


def test_one_module_knows_what_held_out_shards_are_called() -> None:
    said = []
    for name, tree in modules_of_floors():
        plain = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }  # docstrings
        said += [
            name
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and HELD_OUT in node.value
            and id(node) not in plain
        ]
    assert said == ["mixtures/spec/bands.py"]


def test_names_of_held_out_shards_lead_there_and_back() -> None:
    for name in ("web", "web/high", "a-validation-b"):
        assert not is_held_out(name)
        assert shown_beside(name) == name
        assert is_held_out(held_out_of(name))
        assert shown_beside(held_out_of(name)) == name
