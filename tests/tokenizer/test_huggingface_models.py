"""Models of any pieces, scores and user symbols have our ids in ``tokenizers``, or are refused."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest
import tokenizers
from sentencepiece import sentencepiece_model_pb2

from artifacts.errors import UserError
from tests.tokenizer.huggingface import ids_of
from tokenizer.encode import Tokenizer
from tokenizer.huggingface.files import STOCK, huggingface_files

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, _, BYTE = range(1, 7)
ALPHABETS = ["ab", "a▁", "abc", "ab▁c", "▁x=哈", "aé😀▁"]
LONGEST = 8
REFUSED = ("the space has no piece", "pieces have the same score", "a character that is no piece")


def random_model(draw: random.Random, alphabet: str, ties: bool) -> bytes:
    """A BPE model of random pieces over few characters, each made of others or of nothing, with
    random scores: what no training gives.
    """
    proto = sentencepiece_model_pb2.ModelProto()
    proto.trainer_spec.model_type = 2
    proto.trainer_spec.byte_fallback = True
    proto.normalizer_spec.add_dummy_prefix = False
    proto.normalizer_spec.remove_extra_whitespaces = False
    proto.pieces.add(piece="<unk>", type=UNKNOWN, score=0)
    for name in ("<s>", "</s>"):
        proto.pieces.add(piece=name, type=CONTROL, score=0)
    symbols = {
        "".join(draw.choices(alphabet, k=draw.randint(2, 4))) for _ in range(draw.choice([0, 0, 3]))
    }
    for symbol in sorted(symbols):
        proto.pieces.add(piece=symbol, type=USER_DEFINED, score=0)
    for value in range(256):
        proto.pieces.add(piece=f"<0x{value:02X}>", type=BYTE, score=0)
    made = sorted(alphabet)
    for _ in range(draw.randint(2, 60)):
        of_others = draw.choice(made) + draw.choice(made)
        piece = (
            of_others
            if draw.random() < 0.8
            else "".join(draw.choices(alphabet, k=draw.randint(2, LONGEST)))
        )
        if len(piece) <= LONGEST and piece not in symbols and piece not in made:
            made.append(piece)
    if ties and draw.random() < 0.3:
        del made[0]
    scores = (
        [draw.randint(0, 6 * len(made)) for _ in made]
        if ties
        else draw.sample(range(10 * len(made)), len(made))
    )
    for piece, score in zip(made, scores, strict=True):
        proto.pieces.add(piece=piece, type=NORMAL, score=-score)
    return bytes(proto.SerializeToString())


def exported_or_why(tokenizer: Tokenizer) -> dict[str, bytes] | str:
    try:
        return huggingface_files(tokenizer)
    except UserError as error:
        return error.message


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("ties", [False, True])
def test_ids_are_the_same_or_the_model_is_refused(seed: int, ties: bool) -> None:
    draw = random.Random(seed)
    exported = 0
    for alphabet in ALPHABETS:
        tokenizer = Tokenizer(random_model(draw, alphabet + "▁" * ("▁" not in alphabet), ties))
        letters = alphabet.replace("▁", " ") + "z\u2581"
        made = ["".join(draw.choices(letters, k=draw.randint(1, 40))) for _ in range(100)]
        files = exported_or_why(tokenizer)
        if isinstance(files, str):
            assert ties
            assert any(said in files for said in REFUSED), files
            continue
        theirs = tokenizers.Tokenizer.from_buffer(files[STOCK])
        column = pa.array(made, pa.large_string())
        assert ids_of(theirs, made) == tokenizer.encode(column).to_pylist()
        exported += 1
    assert exported == len(ALPHABETS) or ties
