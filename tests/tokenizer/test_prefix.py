"""Tokenizers that put a space before a text: ids of the libraries, and every text comes back."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sentencepiece as spm
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from artifacts.paths import Store
from artifacts.schemas import MESSAGES
from tests.llama_folders import MARKS, llama_model, odd_texts, write_llama_tokenizer
from tokenizer.chat import encode_conversations, render
from tokenizer.encode import Tokenizer
from tokenizer.foreign.folder import read_folder
from tokenizer.foreign.packed import pack, pack_with_model, unpack
from tokenizer.foreign.spaces import with_spaces
from tokenizer.huggingface.compare import compare
from tokenizer.huggingface.files import huggingface_files
from tokenizer.prefix import Prefix
from trainer.generation.pieces import Pieces

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported

SETTINGS: dict[str, tuple[dict[str, Any], Prefix]] = {
    "nothing said": ({}, Prefix.FIRST),
    "legacy": ({"legacy": True}, Prefix.EACH),
    "not legacy": ({"legacy": False}, Prefix.FIRST),
    "legacy, a space": ({"legacy": True, "add_prefix_space": True}, Prefix.EACH),
    "no space": ({"add_prefix_space": False}, Prefix.NONE),
    "legacy, no space": ({"legacy": True, "add_prefix_space": False}, Prefix.NONE),
}
TEXTS = odd_texts(4000)


def column(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def read(folder: Path) -> Tokenizer:
    found = read_folder(Store(folder))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def given_model() -> Tokenizer:
    return Tokenizer.load(llama_model())


@pytest.mark.parametrize("name", SETTINGS)
def test_ids_are_those_of_transformers(tmp_path: Path, name: str) -> None:
    """Where a text begins with a space, its class drops that space; those texts are held against
    SentencePiece itself.
    """
    from transformers import AutoTokenizer

    said, prefix = SETTINGS[name]
    folder = write_llama_tokenizer(tmp_path / "model", **said)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    theirs = AutoTokenizer.from_pretrained(folder)
    ours = read(folder)
    assert type(theirs).__name__ == "LlamaTokenizer"
    assert ours.prefix is prefix
    ids = ours.encode(column(TEXTS))
    assert ours.decode(ids).to_pylist() == TEXTS
    kept = [number for number, text in enumerate(TEXTS) if not text.startswith(" ")]
    assert len(kept) > 3000
    asked = theirs([TEXTS[number] for number in kept], add_special_tokens=False,
                   split_special_tokens=True)  # fmt: skip
    mine = ids.to_pylist()
    assert [mine[number] for number in kept] == asked["input_ids"]
    mark, answer = (ours.control_id(mark) for mark in MARKS)
    for text in ("hello\n", "the river", "漢 17"):
        turn = [ours.bos_id, mark, *ours.encode_text(text, after_mark=True), answer]
        assert turn == theirs.encode(f"<s>{MARKS[0]}{text}{MARKS[1]}", add_special_tokens=False)


def test_ids_are_those_of_the_model_itself(given_model: Tokenizer) -> None:
    library = spm.SentencePieceProcessor(model_proto=llama_model())
    assert given_model.encode(column(TEXTS)).to_pylist() == library.encode(TEXTS)
    assert given_model.prefix is Prefix.FIRST


@pytest.mark.parametrize("name", SETTINGS)
def test_the_tokenizer_json_that_transformers_writes_has_the_same_ids(
    tmp_path: Path, name: str
) -> None:
    from transformers import LlamaTokenizer

    said, prefix = SETTINGS[name]
    folder = write_llama_tokenizer(tmp_path / "model", **said)
    LlamaTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved/tokenizer.model").exists()
    ours, alone = read(folder), read(tmp_path / "saved")
    assert (alone.foreign is not None, alone.prefix) == (True, prefix)
    texts = column([*TEXTS[:1000], "a\u2581b", "\u2581 \u2581"])
    ids = alone.encode(texts)
    assert ids.to_pylist() == ours.encode(texts).to_pylist()
    assert alone.decode(ids).to_pylist() == texts.to_pylist()
    assert alone.encode_text("a", after_mark=True) == ours.encode_text("a", after_mark=True)


def _stock(prepend: bool) -> dict[str, Any]:
    """As converters of transformers 4 write it: normalisers."""
    from tokenizers import Tokenizer as Stock
    from tokenizers import decoders, models, normalizers
    from transformers.convert_slow_tokenizer import generate_merges

    library = spm.SentencePieceProcessor(model_proto=llama_model())
    pieces = {library.id_to_piece(token): token for token in range(library.vocab_size())}
    scores = {
        piece: library.get_score(token)
        for piece, token in pieces.items()
        if not library.is_control(token) and not library.is_byte(token)
    }
    merges = [tuple(pair) for pair in generate_merges(pieces, scores)]
    stock = Stock(models.BPE(pieces, merges, fuse_unk=True, byte_fallback=True, unk_token="<unk>"))
    replace = normalizers.Replace(" ", "\u2581")
    first = [normalizers.Prepend("\u2581")] if prepend else []
    stock.normalizer = normalizers.Sequence([*first, replace])
    stock.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    stock.add_special_tokens(["<unk>", "<s>", "</s>", *MARKS])
    return dict(json.loads(stock.to_str()))


@pytest.mark.parametrize("prepend", [True, False])
def test_normalisers_that_prepend_give_the_library_s_ids_for_every_text(prepend: bool) -> None:
    from tokenizers import Tokenizer as Stock

    described = _stock(prepend)
    prefix = with_spaces(described, "tokenizer.json").prefix
    assert prefix is (Prefix.EACH if prepend else Prefix.NONE)
    files = {"tokenizer.json": json.dumps(described).encode()}
    ours = Tokenizer.load(pack(files, bos=1, eos=2, prefix=prefix))
    library = Stock.from_str(json.dumps(described))
    library.encode_special_tokens = True
    theirs = [row.ids for row in library.encode_batch(TEXTS, add_special_tokens=False)]
    ids = ours.encode(column(TEXTS))
    assert ids.to_pylist() == theirs
    assert ours.decode(ids).to_pylist() == TEXTS


def test_metaspace_that_splits_gives_the_library_s_ids() -> None:
    from tokenizers import Tokenizer as Stock

    described = _stock(prepend=False)
    described |= {
        "normalizer": None,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first",
                          "split": True},
    }  # fmt: skip
    files = {"tokenizer.json": json.dumps(described).encode()}
    ours = Tokenizer.load(pack(files, bos=1, eos=2, prefix=Prefix.FIRST))
    library = Stock.from_str(json.dumps(described))
    library.encode_special_tokens = True
    texts = [text for text in TEXTS if not text.startswith(" ")]
    theirs = [row.ids for row in library.encode_batch(texts, add_special_tokens=False)]
    assert ours.encode(column(texts)).to_pylist() == theirs
    ids = ours.encode(column(TEXTS))
    assert ours.decode(ids).to_pylist() == TEXTS


@given(st.lists(st.text(), max_size=4))
@settings(max_examples=80, deadline=None)
def test_every_text_comes_back(texts: list[str]) -> None:
    for tokenizer in map(_packed, Prefix):
        for after_mark in (False, True):
            ids = tokenizer.encode(column(texts), after_mark=after_mark)
            marked = pa.array([[3, *row] for row in ids.to_pylist()], pa.large_list(pa.int64()))
            rows = marked if after_mark else ids
            assert tokenizer.decode(rows, controls=False).to_pylist() == texts


@cache
def _packed(prefix: Prefix) -> Tokenizer:
    return Tokenizer.load(pack_with_model({"tokenizer.model": llama_model()}, 1, 2, prefix))


def test_parts_of_a_document_join_to_it_without_a_space_between(given_model: Tokenizer) -> None:
    text = "the river  past the mill, home in winter"
    ids = given_model.encode_text(text)
    cut = [ids[:3], ids[3:7], ids[7:]]
    first = given_model.decode(pa.array(cut[:1], pa.large_list(pa.int64())))
    later = given_model.decode(pa.array(cut[1:], pa.large_list(pa.int64())), middle=True)
    assert "".join([*first.to_pylist(), *later.to_pylist()]) == text
    joined = [*ids, given_model.eos_id, *ids]
    assert given_model.decode_tokens(joined, controls=False) == text * 2


@pytest.mark.parametrize(("before", "shown"), [("<s>", "the river"), (None, " the river")])
def test_streamed_text_has_the_space_where_it_goes_on_alone(
    given_model: Tokenizer, before: str | None, shown: str
) -> None:
    last = None if before is None else given_model.bos_id
    pieces = Pieces(given_model, before=last)
    text = "".join(pieces.add(token) for token in given_model.encode_text("the river"))
    assert text + pieces.rest() == shown


@pytest.mark.parametrize("prefix", Prefix)
def test_conversations_come_back_and_are_the_turns_that_are_asked(prefix: Prefix) -> None:
    tokenizer = _packed(prefix)
    turns = [
        {"role": "user", "content": " the river?", "weight": None, "tool_calls": None,
         "name": None},
        {"role": "assistant", "content": "home </s> in", "weight": None, "tool_calls": None,
         "name": None},
    ]  # fmt: skip
    ids, trainable = encode_conversations(pa.array([turns], MESSAGES), tokenizer)
    assert tokenizer.decode(ids).to_pylist() == [render(turns)]
    ((span,),) = trainable.to_pylist()
    answer = ids[0].as_py()[span["start"] : span["end"] - 1]
    assert answer == tokenizer.encode_text("home </s> in", after_mark=True)


def test_how_texts_begin_is_part_of_the_tokenizer(tmp_path: Path) -> None:
    plain = Tokenizer.load(llama_model(add_dummy_prefix=False))
    hashes = {plain.hash, Tokenizer.load(llama_model()).hash}
    for name, (said, prefix) in SETTINGS.items():
        tokenizer = read(write_llama_tokenizer(tmp_path / name, **said))
        hashes.add(tokenizer.hash)
        again = pickle.loads(pickle.dumps(Tokenizer.load(tokenizer.model)))
        assert (again.prefix, again.hash) == (prefix, tokenizer.hash)
    assert len(hashes) == len(SETTINGS) + 2


def test_without_such_a_space_a_folder_is_the_model_alone(tmp_path: Path) -> None:
    folder = write_llama_tokenizer(tmp_path / "model")
    plain = llama_model(add_dummy_prefix=False)
    (folder / "tokenizer.model").write_bytes(plain)
    assert read(folder).model == plain


def test_its_files_go_out_as_they_came(tmp_path: Path) -> None:
    folder = write_llama_tokenizer(tmp_path / "model", legacy=True, chat_template="{{ messages }}")
    (folder / "added_tokens.json").write_text("{}")
    files = huggingface_files(read(folder))
    assert files == {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("settings", "field"),
    [({"legacy": "yes"}, "legacy"), ({"add_prefix_space": 1}, "add_prefix_space")],
)
def test_a_setting_that_is_neither_true_nor_false_is_refused(
    tmp_path: Path, settings: dict[str, Any], field: str
) -> None:
    folder = write_llama_tokenizer(tmp_path, **settings)
    with pytest.raises(UserError, match="neither true nor false") as caught:
        read(folder)
    assert (caught.value.field, caught.value.file) == (field, str(folder / "tokenizer_config.json"))


def _matched(described: dict[str, Any]) -> dict[str, Any]:
    entry = {
        "id": len(described["model"]["vocab"]), "content": "[X]", "single_word": False,
        "lstrip": False, "rstrip": False, "normalized": False, "special": False,
    }  # fmt: skip
    return {**described, "added_tokens": [*described["added_tokens"], entry]}


def _blank(described: dict[str, Any]) -> dict[str, Any]:
    vocabulary = {**described["model"]["vocab"], "a b": len(described["model"]["vocab"])}
    return {**described, "model": {**described["model"], "vocab": vocabulary}}


def _odd_merges(described: dict[str, Any]) -> dict[str, Any]:
    return {**described, "model": {**described["model"], "merges": [5]}}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (_matched, "added_tokens"),
        (_blank, "model.vocab"),
        (_odd_merges, None),
        (lambda one: {**one, "normalizer": {"type": "Lowercase"}}, "normalizer"),
        (lambda one: {**one, "pre_tokenizer": {"type": "Whitespace"}}, "normalizer"),
    ],
)
def test_what_does_not_go_with_the_space_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], field: str | None
) -> None:
    write_llama_tokenizer(tmp_path)
    (tmp_path / "tokenizer.model").unlink()
    (tmp_path / "tokenizer.json").write_text(json.dumps(change(_stock(prepend=True))))
    with pytest.raises(UserError) as caught:
        read(tmp_path)
    assert caught.value.field == field
    assert caught.value.file == str(tmp_path / "tokenizer.json")


def test_packed_bytes_with_another_space_than_the_file_has_are_refused() -> None:
    files = {"tokenizer.json": json.dumps(_stock(prepend=True)).encode()}
    with pytest.raises(UserError, match="not the one that"):
        Tokenizer.load(pack(files, bos=1, eos=2))


@pytest.mark.parametrize(
    ("name", "value"), [("prefix", "sometimes"), ("model", "@"), ("model", 5), ("prefix", None)]
)
def test_damaged_bytes_with_a_model_are_refused(name: str, value: Any) -> None:
    packed = json.loads(pack_with_model({"tokenizer.model": llama_model()}, 1, 2, Prefix.FIRST))
    raw = json.dumps({**packed, name: value}, separators=(",", ":"), sort_keys=True).encode()
    with pytest.raises(UserError, match="not a packed tokenizer"):
        unpack(raw, "tokenizer.model")


@pytest.mark.parametrize("name", ["tokenizer_config.json", "tokenizer.json"])
def test_a_key_that_stands_twice_is_refused(tmp_path: Path, name: str) -> None:
    write_llama_tokenizer(tmp_path)
    (tmp_path / name).write_text('{"legacy": true, "more": {"legacy": 1, "legacy": 2}}')
    with pytest.raises(UserError, match="stands twice") as caught:
        read(tmp_path)
    assert (caught.value.file, caught.value.field) == (str(tmp_path / name), "legacy")


def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tokenizer.model")
    assert read_folder(Store(tmp_path)) is None


def test_without_a_tokenizer_json_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    tokenizer = read(write_llama_tokenizer(tmp_path))
    with pytest.raises(UserError, match="nothing to compare with"):
        compare(tokenizer, [["a"]])


def test_a_model_alone_is_not_written_for_others(given_model: Tokenizer) -> None:
    with pytest.raises(UserError, match="changes a text") as caught:
        huggingface_files(given_model)
    assert caught.value.field == "normalizer_spec.add_dummy_prefix"
    assert "tokenizer_config.json" in str(caught.value.fix)
