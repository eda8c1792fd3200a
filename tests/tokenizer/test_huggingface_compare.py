"""What a comparison counts: texts that spell a control piece apart, and every true difference."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from tests.tokenizer.huggingface import PARTS, fragments
from tokenizer.encode import Tokenizer
from tokenizer.foreign.packed import pack
from tokenizer.huggingface import compare as module
from tokenizer.huggingface.compare import compare
from tokenizer.huggingface.files import STOCK, huggingface_files

SPELLING = ["a</s>b", "<User>", "</s></s>", "the <unk> river"]


def test_spelled_control_pieces_are_told_apart(tokenizer: Tokenizer) -> None:
    found = compare(tokenizer, [["a", *SPELLING[:2]], pa.array([*SPELLING[2:], "b"])])
    assert (found.plain.texts, found.plain.different) == (2, 0)
    assert (found.spelling.texts, found.spelling.different) == (4, 4)
    assert (found.split.texts, found.split.different) == (4, 0)
    assert found.pieces == {"</s>": 2, "<User>": 1, "<unk>": 1}
    assert found.sound
    first = found.spelling.first[0]
    assert (first.text, first.token, first.character) == (1, 1, 1)
    assert first.theirs[0] == tokenizer.eos_id
    assert tokenizer.decode_tokens(list(first.ours)) == "</s>b"
    assert json.loads(json.dumps(found.to_json()))["split"]["texts"] == 4


def test_texts_of_every_kind_do_not_differ(tokenizer: Tokenizer) -> None:
    made = [*PARTS, *fragments(tokenizer, 1000, 6)]
    found = compare(tokenizer, [made[:300], made[300:], []])
    assert found.sound
    assert found.plain.texts + found.split.texts == len(made)
    assert found.plain.bytes + found.split.bytes == sum(len(text.encode()) for text in made)
    assert found.plain.not_restored == found.spelling.not_restored == 0


def test_other_files_differ_and_each_difference_says_where(tokenizer: Tokenizer) -> None:
    files = huggingface_files(tokenizer)
    content = json.loads(files[STOCK])
    content["model"]["merges"] = content["model"]["merges"][50:]
    broken = {**files, STOCK: json.dumps(content).encode()}
    texts = ["春天\u2581the river carried small boats", "7", "</s> the river"]
    found = compare(tokenizer, [texts], shown=1, files=broken)
    assert not found.sound
    assert (found.plain.different, found.split.different) == (1, 1)
    (first,) = found.plain.first
    ours = tokenizer.encode_text(texts[0])
    assert first.ours == tuple(ours[first.token : first.token + 8])
    assert tokenizer.decode_tokens(ours[: first.token]) == texts[0][: first.character]
    assert first.excerpt in texts[0]
    assert first.theirs != first.ours


def test_what_does_not_come_back_is_counted(tokenizer: Tokenizer) -> None:
    files = huggingface_files(tokenizer)
    content = json.loads(files[STOCK])
    content["decoder"] = {"type": "Fuse"}  # bytes stay names
    broken = {**files, STOCK: json.dumps(content).encode()}
    found = compare(tokenizer, [["the river", "😀"]], files=broken)
    assert (found.plain.different, found.plain.not_restored) == (0, 1)
    assert not found.sound


def test_files_of_others_are_exported_and_compared_as_they_were(tokenizer: Tokenizer) -> None:
    theirs = Tokenizer.load(pack(huggingface_files(tokenizer), bos=1, eos=2))
    files = huggingface_files(theirs)
    assert files.keys() == huggingface_files(tokenizer).keys() - {"tokenizer.model"}
    assert all(files[name] == huggingface_files(tokenizer)[name] for name in files)
    found = compare(theirs, [[*PARTS, *SPELLING]])
    assert found.sound
    assert (found.spelling.texts, found.spelling.different) == (4, 4)
    assert found.pieces == {"</s>": 2, "<User>": 1, "<unk>": 1}


def test_long_texts_are_compared_in_parts(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST", 10)
    text = "the river 春天😀" * 7
    found = compare(tokenizer, [[text, ""]])
    assert found.plain.texts == -(-len(text) // 10) + 1
    assert found.plain.bytes == len(text.encode())
    assert found.sound
