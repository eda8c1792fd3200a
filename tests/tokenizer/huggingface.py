"""What tests of the exported files share: texts that are hard to encode, folders, tokenizers of
theirs.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from hypothesis import strategies as st

from tokenizer.encode import Tokenizer
from tokenizer.huggingface.compare import Controls
from tokenizer.huggingface.files import STOCK, huggingface_files

SPELLED = ["<s>", "</s>", "<unk>", "<User>", "<AI>", "<System>", "<Tool>", "<reserved_0>"]
PARTS = [
    "the river", "The ", " old mill", "children", "春天", "来了河边", "😀", "👩‍👩‍👧", "e\u0301",
    "    ", " ", "  ", "         ", "\n", "\n\n\n", "\t", "\t\t", "\r\n", "\x00", "\x00\x00",
    "\u2581", " \u2581", "\u2581\u2581\u2581", "<0x41>", "<0x0A>", "<0xE2><0x96><0x81>", "<0xg1>",
    "def area(width, height):\n    if width < 0:\n", "for (int i = 0; i < 128; i++) {\n\t\t",
    "1234567890", "aaaaaaaa", "ananan", "<", ">", "/", "s>", "<AI", "\u2028", "\ufeff",
    "\U0010ffff", "\ue000", "\x7f",
]  # fmt: skip
LETTERS = st.characters(exclude_categories=["Cs"])
TEXT = st.lists(st.one_of(st.sampled_from(PARTS), st.text(LETTERS, max_size=6)), max_size=16).map(
    "".join
)
SPELLING = st.lists(st.one_of(st.sampled_from(SPELLED), TEXT), min_size=1, max_size=8).map("".join)


def fragments(tokenizer: Tokenizer, count: int, seed: int) -> list[str]:
    """Texts of pieces, cut anywhere and put together again: where several pairs make one piece."""
    draw = np.random.default_rng(seed)
    pieces = [
        tokenizer.vocabulary.surface(token).decode()
        for token in np.flatnonzero(tokenizer.vocabulary.kinds == 0)
    ]
    texts = []
    for _ in range(count):
        chosen = [
            pieces[index] for index in draw.integers(0, len(pieces), int(draw.integers(2, 9)))
        ]
        cuts = [int(draw.integers(0, len(piece) + 1)) for piece in chosen]
        texts.append(
            "".join(piece[cut:] + piece[:cut] for piece, cut in zip(chosen, cuts, strict=True))
        )
    return texts


def stock(tokenizer: Tokenizer, split: bool = False) -> tokenizers.Tokenizer:
    """The exported model in the library ``tokenizers``."""
    return _stock(tokenizer.model, split)


@lru_cache
def _stock(model: bytes, split: bool) -> tokenizers.Tokenizer:
    theirs = tokenizers.Tokenizer.from_buffer(huggingface_files(Tokenizer.load(model))[STOCK])
    theirs.encode_special_tokens = split
    return theirs


def controls(tokenizer: Tokenizer) -> Controls:
    """Which texts spell a control piece."""
    return _controls(tokenizer.model)


@lru_cache
def _controls(model: bytes) -> Controls:
    return Controls(Tokenizer.load(model))


def ids_of(theirs: tokenizers.Tokenizer, texts: list[str]) -> list[list[int]]:
    return [row.ids for row in theirs.encode_batch(texts, add_special_tokens=False)]


def written(files: dict[str, bytes], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def auto_tokenizer(folder: Path, **settings: Any) -> Any:
    """What transformers makes of a folder, without asking the hub."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import huggingface_hub.constants

    huggingface_hub.constants.HF_HUB_OFFLINE = True  # where something imported it before
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, **settings)
