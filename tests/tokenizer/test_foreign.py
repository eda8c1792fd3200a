"""Tokenizers of ``tokenizer.json`` with the interface of ours."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from tokenizer.encode import Tokenizer
from tokenizer.foreign.folder import read_foreign
from tokenizer.foreign.packed import pack
from tokenizer.foreign.surfaces import byte_characters
from tokenizer.huggingface.files import huggingface_files
from tokenizer.train import TrainConfig, train_model

TEXTS = [
    "The river runs past the mill.\n\tfor index in range(10):\n        total += index\n",
    "春江潮水连海平，海上明月共潮生。 é e\u0301 🙂 </s> <s> <User>",
]


@pytest.fixture(scope="module")
def ours() -> Tokenizer:
    model, _ = train_model([pa.array(TEXTS * 20, pa.large_string())], TrainConfig(vocab_size=420))
    return Tokenizer.load(model)


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as GPT-2's kind has it, made by the library's own trainer."""
    from tokenizers import Tokenizer as Stock
    from tokenizers import decoders, models, pre_tokenizers, trainers

    stock = Stock(models.BPE())
    stock.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    stock.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    stock.train_from_iterator(TEXTS * 20, trainer)
    folder = tmp_path_factory.mktemp("byte-level")
    stock.save(str(folder / "tokenizer.json"))
    config = {"bos_token": "<s>", "eos_token": {"content": "</s>"}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def foreign(byte_level: Path) -> Tokenizer:
    return read_foreign(byte_level, None, None)


def test_our_own_tokenizer_json_gives_our_ids(ours: Tokenizer) -> None:
    files = huggingface_files(ours)
    theirs = Tokenizer.load(pack(files, bos=ours.bos_id, eos=ours.eos_id))
    assert theirs.foreign is not None
    column = pa.array([*TEXTS, "", "  two  spaces\n\n\n", "<User>hello<AI>"], pa.large_string())
    assert theirs.encode(column).to_pylist() == ours.encode(column).to_pylist()
    assert theirs.encode(column, eos=True).to_pylist() == ours.encode(column, eos=True).to_pylist()
    assert theirs.vocab_size == ours.vocab_size
    assert theirs.control_id("<User>") == ours.control_id("<User>")
    assert theirs.control_id("river") is None


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_every_text_comes_back_and_never_becomes_a_special_token(
    foreign: Tokenizer, text: str
) -> None:
    for asked in (text, f"{text}</s>{text}"):
        ids = foreign.encode_text(asked)
        assert foreign.decode_tokens(ids) == asked
        assert not {foreign.bos_id, foreign.eos_id} & {*ids}


def test_each_id_decodes_to_the_bytes_that_the_library_says(foreign: Tokenizer) -> None:
    assert sorted(byte_characters()) == sorted({*byte_characters()})
    for token in range(2, foreign.vocab_size):
        surface = foreign.vocabulary.surface(token)
        said = foreign.foreign.stock.decode([token])
        assert said == surface.decode("utf-8", "replace"), token


def test_it_is_kept_as_bytes_and_sent_to_workers(foreign: Tokenizer) -> None:
    loaded = Tokenizer.load(foreign.model)
    sent = pickle.loads(pickle.dumps(loaded))
    for other in (loaded, sent):
        assert other.foreign is not None
        assert other.hash == foreign.hash
        assert other.encode_text(TEXTS[1]) == foreign.encode_text(TEXTS[1])


def test_exported_again_its_files_are_as_they_were(foreign: Tokenizer, byte_level: Path) -> None:
    files = huggingface_files(foreign)
    assert files == {path.name: path.read_bytes() for path in byte_level.iterdir()}


def test_a_null_text_is_refused(foreign: Tokenizer) -> None:
    with pytest.raises(UserError, match="no text"):
        foreign.encode(pa.array(["a", None], pa.large_string()))


def _with(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda described: {**described, **changes}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_with(model={"type": "WordPiece", "vocab": ["a"]}), "kind that is not known"),
        (_with(model=None), "kind that is not known"),
        (_with(model={"type": "BPE", "vocab": {"a": -1}, "merges": []}), "kind that is not known"),
        (_with(decoder=None), "kind that is not known"),
        (_with(decoder={"type": "WordPiece"}), "kind that is not known"),
        (_with(normalizer={"type": "Lowercase"}), "changes text"),
        (_with(normalizer={"type": "NFC"}), "changes text"),
        (_with(added_tokens=[{"id": 1 << 40, "content": "x", "special": True}]), "too many"),
        (_with(model={"type": "BPE", "vocab": {"漢": 0}, "merges": []}), "no bytes are written as"),
        (_with(pre_tokenizer={"type": "Nonsense"}), "not a tokenizer.json"),
    ],
)
def test_what_is_not_known_is_refused(
    byte_level: Path, change: Callable[[dict[str, Any]], dict[str, Any]], message: str
) -> None:
    described = json.loads((byte_level / "tokenizer.json").read_bytes())
    files = {"tokenizer.json": json.dumps(change(described)).encode()}
    with pytest.raises(UserError, match=message):
        Tokenizer.load(pack(files, bos=0, eos=1), file="a folder")


@pytest.mark.parametrize(
    "model",
    [
        b'{"bos":0}',
        b'{"bos":0,"eos":1,"files":{},"format":"foreign-tokenizer/1"}',
        b'{"bos":0,"eos":1,"files":{"tokenizer.json":"{}"},"format":"foreign-tokenizer/9"}',
        b'{"bos":"0","eos":1,"files":{"tokenizer.json":"{}"},"format":"foreign-tokenizer/1"}',
        b'{"bos":0,"eos":1,"files":{"tokenizer.json":"{"},"format":"foreign-tokenizer/1"}',
        b'{"bos":',
    ],
)
def test_damaged_bytes_are_refused(model: bytes) -> None:
    with pytest.raises(UserError):
        Tokenizer.load(model)


def test_ids_that_begin_and_end_a_document_have_to_be_known(
    byte_level: Path, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.json").write_bytes((byte_level / "tokenizer.json").read_bytes())
    with pytest.raises(UserError, match="nothing says which id begins"):
        read_foreign(tmp_path, None, None)
    (tmp_path / "tokenizer_config.json").write_text('{"bos_token": "no such"}')
    with pytest.raises(UserError, match="nothing says which id begins"):
        read_foreign(tmp_path, None, 1)
    assert read_foreign(tmp_path, 0, 1).eos_id == 1
    with pytest.raises(UserError, match="no such piece for EOS"):
        read_foreign(tmp_path, 0, 10_000)
