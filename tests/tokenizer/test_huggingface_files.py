"""The exported files: what transformers makes of them, the same bytes, and refusals."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2

from artifacts.errors import UserError
from tests.tokenizer.huggingface import (
    PARTS,
    SPELLED,
    auto_tokenizer,
    fragments,
    ids_of,
    stock,
    written,
)
from tokenizer.encode import Tokenizer
from tokenizer.huggingface.files import MODEL, NAMES, huggingface_files
from tokenizer.huggingface.model_file import read_model_file
from tokenizer.huggingface.pieces import same_pieces
from tokenizer.train import TrainConfig, train_model

Proto = Any
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


def proto_of(tokenizer: Tokenizer) -> Proto:
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(tokenizer.model)
    return proto


def add(proto: Proto, text: str, kind: int = NORMAL, score: float = -1e6) -> Proto:
    proto.pieces.add(piece=text, type=kind, score=score)
    return proto


@pytest.mark.slow
@pytest.mark.parametrize("kind", [None, "granite", "llama", "mixtral", "minicpm"])
def test_transformers_has_our_ids_whatever_model_stands_beside(
    tokenizer: Tokenizer, tmp_path: Path, kind: str | None
) -> None:
    folder = written(huggingface_files(tokenizer, model_max_length=512), tmp_path)
    if kind is not None:
        (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    theirs = auto_tokenizer(folder)
    split = auto_tokenizer(folder, split_special_tokens=True)
    made = [*PARTS, *fragments(tokenizer, 500, 2)]
    column = pa.array(made, pa.large_string())
    for text, ids in zip(made, tokenizer.encode(column).to_pylist(), strict=True):
        assert theirs(text)["input_ids"] == [tokenizer.bos_id, *ids]
        assert theirs(text, add_special_tokens=False)["input_ids"] == ids
        assert theirs.decode(ids) == text
        assert theirs.decode([tokenizer.bos_id, *ids], skip_special_tokens=True) == text
    for text in (f"a {name} b" for name in SPELLED):
        ids = split(text, add_special_tokens=False)["input_ids"]
        assert ids == tokenizer.encode_text(text)
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.unk_token_id) == (1, 2, 0)
    assert (len(theirs), theirs.model_max_length) == (tokenizer.vocab_size, 512)
    saved = tmp_path / "saved"
    theirs.save_pretrained(saved)
    again = auto_tokenizer(saved)
    assert [again(text)["input_ids"] for text in made] == [theirs(text)["input_ids"] for text in made]  # fmt: skip


@pytest.mark.slow
def test_the_same_model_gives_the_same_bytes_in_any_process(
    tokenizer: Tokenizer, model_path: Path
) -> None:
    files = huggingface_files(tokenizer)
    code = (
        "import hashlib, sys; from tokenizer.encode import Tokenizer; "
        "from tokenizer.huggingface.files import huggingface_files; "
        "[print(name, hashlib.sha256(content).hexdigest()) for name, content in "
        "huggingface_files(Tokenizer.load(sys.argv[1])).items()]; "
        "print([name for name in ('torch', 'transformers', 'tokenizers') if name in sys.modules])"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code, str(model_path)],
            capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(runs) == 1
    lines = runs.pop().splitlines()
    assert lines.pop() == "[]"
    assert [line.split()[0] for line in lines] == list(files)
    assert set(files) == set(NAMES)
    assert files[MODEL] == tokenizer.model
    assert huggingface_files(Tokenizer.load(tokenizer.model)) == files


def test_the_longest_text_is_said_only_where_it_is_known(tokenizer: Tokenizer) -> None:
    assert b"model_max_length" not in huggingface_files(tokenizer)["tokenizer_config.json"]
    config = json.loads(huggingface_files(tokenizer, 99)["tokenizer_config.json"])
    assert config["model_max_length"] == 99


def test_a_model_file_is_read_as_its_own_library_reads_it(tokenizer: Tokenizer) -> None:
    proto, read = proto_of(tokenizer), read_model_file(tokenizer.model)
    assert [(one.text, one.score, one.kind) for one in read.pieces] == [
        (one.piece, one.score, one.type) for one in proto.pieces
    ]
    assert read.type == proto.trainer_spec.model_type == 2
    spec = proto.normalizer_spec
    assert (read.replaces_characters, read.adds_prefix, read.removes_spaces, read.escapes_spaces) == (
        bool(spec.precompiled_charsmap), spec.add_dummy_prefix, spec.remove_extra_whitespaces,
        spec.escape_whitespaces,
    )  # fmt: skip
    bare = read_model_file(sentencepiece_model_pb2.ModelProto().SerializeToString())
    assert (bare.type, bare.adds_prefix, bare.removes_spaces, bare.escapes_spaces) == (1, True, True, True)  # fmt: skip


def test_parts_of_a_model_file_that_come_twice_are_joined(tokenizer: Tokenizer) -> None:
    later = sentencepiece_model_pb2.ModelProto()
    later.trainer_spec.model_type = 1
    later.normalizer_spec.add_dummy_prefix = True
    joined = tokenizer.model + later.SerializeToString()
    proto = sentencepiece_model_pb2.ModelProto.FromString(joined)
    read = read_model_file(joined)
    assert read.type == proto.trainer_spec.model_type == 1
    assert read.adds_prefix
    assert proto.normalizer_spec.add_dummy_prefix
    assert len(read.pieces) == len(proto.pieces) == tokenizer.vocab_size


@pytest.mark.parametrize(
    "content",
    [b"\x0a\xff", b"\x0a", b"\x0b\x01", b"\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
     b"\x0a\x03\x0a\x01\xff", b"\x08\x01", b"\x0a\x02\x10\x01", b"\x0a\x03\x15\x00\x00"],
)  # fmt: skip
def test_a_file_that_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(UserError, match="not a SentencePiece model"):
        read_model_file(content)


def _set(path: str, value: Any) -> Callable[[Proto], None]:
    def change(proto: Proto) -> None:
        *parts, last = path.split(".")
        for part in parts:
            proto = getattr(proto, part)
        setattr(proto, last, value)

    return change


def _unused(proto: Proto) -> None:
    proto.pieces[-1].type = UNUSED


def _not_a_number(proto: Proto) -> None:
    next(one for one in proto.pieces if one.type == NORMAL and len(one.piece) > 1).score = math.nan


def _tie(proto: Proto) -> None:
    long = [one for one in proto.pieces if one.type == NORMAL and len(one.piece) > 1]
    long[3].score = long[4].score


def _without_a_character(proto: Proto) -> None:
    single = next(one for one in proto.pieces if one.piece == "h" and one.type == NORMAL)
    single.piece = "\ue123"


def _without_a_space(proto: Proto) -> None:
    next(one for one in proto.pieces if one.piece == "\u2581").piece = "\ue123"


REFUSED: list[tuple[Callable[[Proto], Any], str]] = [
    (_set("trainer_spec.model_type", 1), "only BPE"),
    (_set("normalizer_spec.precompiled_charsmap", b"\x01\x02"), "changes a text"),
    (_set("normalizer_spec.escape_whitespaces", False), "spaces in its own way"),
    (_unused, "unused pieces"),
    (_not_a_number, "a score that is no number"),
    (_tie, "same score"),
    (_without_a_character, "a character that is no piece"),
    (_without_a_space, "the space has no piece"),
    (lambda proto: add(proto, "hello world", USER_DEFINED), "not written U\\+2581"),
    (lambda proto: add(proto, "q z"), "not written U\\+2581"),
    (lambda proto: add(proto, "%", CONTROL), "single character"),
    (lambda proto: add(proto, "<0x4a>", CONTROL), "named like a byte"),
    (lambda proto: add(proto, "<0x+4>", USER_DEFINED), "named like a byte"),
    (lambda proto: add(proto, "<0x4a>"), "named like a byte"),
    (
        lambda proto: add(add(proto, "e r", CONTROL), "e\u2581r"),
        "two pieces stand for the same text",
    ),
    (lambda proto: add(proto, ">x", USER_DEFINED), "overlaps a user symbol"),
    (lambda proto: add(proto, "Use", USER_DEFINED), "overlaps a user symbol"),
]


@pytest.mark.parametrize(("change", "said"), REFUSED)
def test_a_model_that_would_get_other_ids_is_refused_with_what_and_how(
    tokenizer: Tokenizer, change: Callable[[Proto], Any], said: str
) -> None:
    proto = proto_of(tokenizer)
    change(proto)
    with pytest.raises(UserError, match=said) as raised:
        huggingface_files(Tokenizer(proto.SerializeToString()))
    assert raised.value.fix
    assert raised.value.field


def test_ties_of_pieces_that_no_text_reaches_are_of_no_matter(tokenizer: Tokenizer) -> None:
    proto = proto_of(tokenizer)
    add(
        add(proto, "\u00e6\u00f8"), "\u00f8\u00e5"
    )  # their characters are no pieces, nor are halves
    with pytest.raises(UserError, match="a character that is no piece"):
        same_pieces(Tokenizer(proto.SerializeToString()))
    proto = proto_of(tokenizer)
    add(add(proto, "\nriver"), "\nbridge")  # the line end is a symbol
    extended = Tokenizer(proto.SerializeToString())
    made = ["\nriver\nbridge", *fragments(tokenizer, 300, 4)]
    column = pa.array(made, pa.large_string())
    assert ids_of(stock(extended, split=True), made) == extended.encode(column).to_pylist()


def test_a_unigram_model_is_refused(texts: pa.LargeStringArray, tmp_path: Path) -> None:
    out = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(texts.to_pylist()), model_writer=out, model_type="unigram",
        vocab_size=400, byte_fallback=True, normalization_rule_name="identity",
        add_dummy_prefix=False, remove_extra_whitespaces=False, num_threads=1, minloglevel=2,
    )  # fmt: skip
    with pytest.raises(UserError, match="only BPE") as raised:
        huggingface_files(Tokenizer.load(out.getvalue()))
    assert raised.value.found == "unigram"


def test_trained_models_of_any_settings_are_exported(texts: pa.LargeStringArray) -> None:
    for settings in (
        {"user_symbols": (), "space_runs": ()},
        {"chat_marks": ("<|im_start|>", "<|im_end|>"), "reserved": 100},
        {"split_digits": False, "user_symbols": ("\n", "<br>", "123")},
    ):
        model, _ = train_model([texts], TrainConfig(vocab_size=600, **settings))  # type: ignore[arg-type]
        assert MODEL in huggingface_files(Tokenizer.load(model))
