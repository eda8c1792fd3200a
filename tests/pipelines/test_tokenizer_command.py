"""windtunnel tokenizer export: a folder whole or not at all, and the differences over files."""

from __future__ import annotations

import bz2
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from typer.testing import CliRunner, Result

from artifacts.errors import UserError
from pipelines.commands.app import app
from pipelines.readers.texts import text_files, texts_of
from pipelines.run.export_tokenizer import export_tokenizer
from pipelines.run.record import load_run
from pipelines.writers.whole_folder import write_folder
from tests.tokenizer.conftest import corpus
from tokenizer.encode import Tokenizer
from tokenizer.foreign.packed import pack
from tokenizer.huggingface.files import NAMES, huggingface_files
from tokenizer.train import TrainConfig, train


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.model"
    train([pa.array(corpus(150, 3), pa.large_string())], TrainConfig(vocab_size=500), path)
    return path


def windtunnel(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["tokenizer", "export", *arguments])


def test_a_model_is_written_and_what_was_written_is_said(model: Path, tmp_path: Path) -> None:
    done = windtunnel(str(model), str(tmp_path / "a" / "out"))
    assert done.exit_code == 0, done.output
    files = {path.name: path.read_bytes() for path in (tmp_path / "a" / "out").iterdir()}
    assert files == huggingface_files(Tokenizer.load(model))
    for name in NAMES:
        assert f"written   {tmp_path}/a/out/{name}\n" in done.output
    assert "--check FILE" in done.output
    assert os.stat(tmp_path / "a" / "out").st_mode & 0o777 == 0o755
    assert os.listdir(tmp_path / "a") == ["out"]


def test_a_second_call_changes_no_byte_and_takes_away_what_is_no_more(
    model: Path, tmp_path: Path
) -> None:
    export_tokenizer(str(model), str(tmp_path))  # an empty folder
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    export_tokenizer(str(model), str(tmp_path))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    write_folder(str(tmp_path), {"tokenizer.json": b"{}"}, NAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


@pytest.mark.parametrize("name", ["notes.txt", "model.safetensors", "folder"])
def test_a_folder_with_other_files_is_refused_and_left(
    model: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "tokenizer.json").write_text("mine")
    (tmp_path / name).mkdir() if name == "folder" else (tmp_path / name).write_text("mine")
    done = windtunnel(str(model), str(tmp_path))
    assert isinstance(done.exception, UserError)
    assert name in str(done.exception.found)
    assert done.exception.field == "DIR"
    assert "move these files away" in (done.exception.fix or "")
    assert (tmp_path / "tokenizer.json").read_text() == "mine"
    assert len(os.listdir(tmp_path)) == 2


@pytest.mark.parametrize("there", [False, True])
def test_a_failure_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    out = tmp_path / "out"
    if there:
        out.mkdir()
        (out / "a").write_bytes(b"before")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipelines.writers.whole_folder.os.fsync", full)
    with pytest.raises(UserError, match="the disk is full"):
        write_folder(str(out), {"a": b"1", "b": b"2"}, ("a", "b"))
    assert os.listdir(tmp_path) == (["out"] if there else [])
    assert not there or {path.name: path.read_bytes() for path in out.iterdir()} == {"a": b"before"}


def test_a_store_gets_all_files_or_none(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = export_tokenizer(str(model), "memory://exports/whole")
    assert [file.rsplit("/", 1)[1] for file in done.files] == list(huggingface_files(Tokenizer.load(model)))  # fmt: skip
    from artifacts.paths import Store

    store = Store("memory://exports/whole")
    assert sorted(store.names()) == sorted(NAMES)
    write = Store.write

    def failing(self: Store, name: str, content: bytes) -> None:
        if name == "tokenizer.model":
            raise OSError("gone")
        write(self, name, content)

    monkeypatch.setattr(Store, "write", failing)
    with pytest.raises(OSError, match="gone"):
        export_tokenizer(str(model), "memory://exports/broken")
    assert Store("memory://exports/broken").names() == []


def test_a_file_in_the_place_of_the_folder_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match="a file lies where the folder goes"):
        export_tokenizer(str(model), str(tmp_path / "out"))
    with pytest.raises(UserError, match="no folder to write into"):
        export_tokenizer(str(model), " ")


# -- what is exported ---------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_and_its_checkpoints_give_their_tokenizer(
    trained_workshop: Path, tmp_path: Path
) -> None:
    runs = str(trained_workshop / "runs")
    store, record = load_run(runs, "trained")
    checkpoint = next(Path(store.base).glob("training/**/checkpoints/step-*"))
    for number, target in enumerate(("trained", store.base, str(checkpoint), str(checkpoint / "tokenizer.model"))):  # fmt: skip
        done = export_tokenizer(target, str(tmp_path / str(number)), runs=runs)
        assert done.hash == record["tokenizer"]["hash"]
    with open(checkpoint / "tokenizer.model", "r+b") as file:
        file.write(b"\0")
    with pytest.raises(UserError, match="the checkpoint is damaged"):
        export_tokenizer(str(checkpoint), str(tmp_path / "damaged"))
    assert not (tmp_path / "damaged").exists()


@pytest.mark.slow
def test_a_run_without_a_tokenizer_and_none_at_all_are_errors(
    workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = windtunnel("no-such-run", "out", "--runs", str(workshop / "runs"))
    assert isinstance(done.exception, UserError)
    assert done.exception.allowed
    assert "starter" in done.exception.allowed
    store, record = load_run(str(workshop / "runs"), "starter")
    monkeypatch.setattr(
        "pipelines.run.export_tokenizer.load_run", lambda *_: (store, {**record, "tokenizer": None})
    )
    with pytest.raises(UserError, match="no tokenizer yet"):
        export_tokenizer("starter", "out")
    assert os.listdir(tmp_path) == []


def test_what_is_no_model_or_cannot_be_exported_is_named(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the tokenizer model"):
        export_tokenizer(str(tmp_path / "none.model"), str(tmp_path / "out"))
    with pytest.raises(UserError, match="cannot read the tokenizer model"):
        export_tokenizer("memory://nowhere/none.model", str(tmp_path / "out"))
    (tmp_path / "bad.model").write_bytes(b"no model")
    with pytest.raises(UserError, match="not a SentencePiece model"):
        export_tokenizer(str(tmp_path / "bad.model"), str(tmp_path / "out"))
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(model.read_bytes())
    proto.pieces.add(piece="%", type=3, score=0)
    (tmp_path / "odd.model").write_bytes(proto.SerializeToString())
    done = windtunnel(str(tmp_path / "odd.model"), str(tmp_path / "out"))
    assert isinstance(done.exception, UserError)
    assert str(tmp_path / "odd.model") in str(done.exception)
    assert "single character" in str(done.exception)
    assert not (tmp_path / "out").exists()


# -- what is checked ----------------------------------------------------------------------------


def test_files_of_records_and_of_lines_are_checked(model: Path, tmp_path: Path) -> None:
    rows = [{"text": text, "body": "x"} for text in corpus(20, 8)]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "a.jsonl").write_text(lines + "broken\n", encoding="utf-8")
    (tmp_path / "b.jsonl.zst").write_bytes(zstandard.compress(lines.encode()))
    (tmp_path / "c.txt").write_bytes("the river\n\n春天\t</s>\r\nlast".encode() + b"\n\xff\xfe\n")
    (tmp_path / "d.log.bz2").write_bytes(bz2.compress(b"one\ntwo"))
    done = windtunnel(
        str(model), str(tmp_path / "out"), "--json",
        "--check", f"{tmp_path}/*.jsonl*", "--check", str(tmp_path / "c.txt"),
        "--check", str(tmp_path / "d.log.bz2"),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    check = json.loads(done.stdout)["check"]
    spelling = 2 * sum("<s>" in row["text"] for row in rows) + 1
    assert check["sound"] is True
    assert check["plain"]["texts"] == 40 + 6 - spelling
    assert check["split"]["texts"] == check["spelling"]["texts"] == spelling
    assert check["spelling"]["different"] == spelling
    assert check["pieces"] == {"<s>": spelling - 1, "</s>": spelling} or check["pieces"]["</s>"]
    assert check["unreadable"] == 2
    shown = windtunnel(str(model), str(tmp_path / "out"), "--check", str(tmp_path / "c.txt"))
    assert "4 texts" in shown.output
    assert "1 text with the name of a control piece (</s> 1)" in shown.output
    assert "split_special_tokens=True all ids are the same" in shown.output
    assert "not read  1 records or lines" in shown.output


def test_a_foreign_tokenizer_is_written_as_it_was(model: Path, tmp_path: Path) -> None:
    files = huggingface_files(Tokenizer.load(model))
    (tmp_path / "theirs.model").write_bytes(pack(files, bos=1, eos=2))
    (tmp_path / "lines.txt").write_text("the river\n</s>\n")
    for _ in range(2):
        done = windtunnel(
            str(tmp_path / "theirs.model"),
            str(tmp_path / "out"),
            "--check",
            str(tmp_path / "lines.txt"),
        )
        assert done.exit_code == 0, done.output
        written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
        assert written == {name: files[name] for name in files if name != "tokenizer.model"}


def test_differences_are_shown_and_end_with_exit_code_1(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(tokenizer: Tokenizer) -> dict[str, bytes]:
        files = huggingface_files(tokenizer)
        content = json.loads(files["tokenizer.json"])
        content["model"]["merges"] = []
        return {**files, "tokenizer.json": json.dumps(content).encode()}

    monkeypatch.setattr("pipelines.run.export_tokenizer.huggingface_files", broken)
    (tmp_path / "lines.txt").write_text("the river\n")
    done = windtunnel(str(model), str(tmp_path / "out"), "--check", str(tmp_path / "lines.txt"))
    assert done.exit_code == 1
    assert "of 1 text 1 with other ids" in done.output
    assert "text 1, character 2 'the river" in done.output


@pytest.mark.parametrize(
    ("options", "field", "said"),
    [
        (["--check", "none.jsonl"], "--check", "no file matches"),
        (["--check", "a.jsonl", "--text-field", "txt"], "--text-field", ""),
        (["--check", "."], "--check", "a folder"),
    ],
)
def test_files_that_cannot_be_checked_are_an_error_before_anything_is_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    options: list[str], field: str, said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    done = windtunnel(str(model), "out", *options)
    assert isinstance(done.exception, UserError)
    assert done.exception.field == field
    assert said in str(done.exception)
    assert not (tmp_path / "out").exists()


def read_texts(path: Path) -> tuple[list[str], int]:
    (file,) = text_files([str(path)])
    batches = list(texts_of(file))
    texts = [text for batch in batches for text in batch.texts.to_pylist()]
    return texts, sum(batch.unreadable for batch in batches)


def test_lines_come_with_their_ends_and_long_ones_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.readers.texts.LONGEST_LINE", 10)
    path = tmp_path / "lines"
    content = "short\n\n" + "春天来了" * 9 + "\nabcdefghij\n" + "x" * 9 + "春\r\n\x00"
    path.write_text(content, encoding="utf-8", newline="")
    texts, unreadable = read_texts(path)
    assert ("".join(texts), unreadable) == (content, 0)
    assert max(len(text.encode()) for text in texts) <= 13
    assert texts[:2] == ["short\n", "\n"]
    path.write_bytes(b"")
    assert read_texts(path) == ([], 0)


def test_a_damaged_file_gives_its_sound_lines_and_a_count(tmp_path: Path) -> None:
    path = tmp_path / "lines.gz"
    import gzip

    whole = gzip.compress(b"".join(b"line %d\n" % n for n in range(5000)))
    path.write_bytes(whole[: len(whole) // 2])
    texts, unreadable = read_texts(path)
    assert len(texts) > 100
    assert unreadable >= 1


def test_help_names_what_may_be_given() -> None:
    shown: Any = CliRunner().invoke(app, ["tokenizer", "--help"])
    assert "export" in shown.output
    assert "MODEL|RUN" in windtunnel("--help").output
