"""Folders with a tokenizer as Llama's: SentencePiece BPE with byte fallback, a space before texts."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece as spm

MARKS = ("<User>", "<AI>")
TEXTS = (
    "The river runs past the mill.\n\tfor index in range(10):\n        total += index",
    "春江潮水连海平，海上明月共潮生。 é 🙂 x  y, a letter home in winter",
)
_ODD = [*"abcdehlnortw .,\n\t", "  ", "   ", "the", "mill", " river", "漢", "海", "é", "🙂", "</s>",
        "<User>", "\x00", "e\u0301", "0", "17", "\r\n"]  # fmt: skip


@cache
def llama_model(vocab_size: int = 420, **options: Any) -> bytes:
    """A model file of the library's own trainer."""
    written = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter([*TEXTS] * 50),
        model_writer=written,
        vocab_size=vocab_size,
        minloglevel=2,
        **{
            "model_type": "bpe",
            "byte_fallback": True,
            "add_dummy_prefix": True,
            "remove_extra_whitespaces": False,
            "allow_whitespace_only_pieces": True,
            "normalization_rule_name": "identity",
            "character_coverage": 0.99,
            "split_digits": True,
            "control_symbols": ",".join(MARKS),
            **options,
        },
    )
    return written.getvalue()


def write_llama_tokenizer(folder: Path, **settings: Any) -> Path:
    """A folder of the model with its ``tokenizer_config.json``, ``settings`` in it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(llama_model())
    config = {
        "tokenizer_class": "LlamaTokenizer",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "additional_special_tokens": MARKS,
        **settings,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def odd_texts(count: int, odd: Sequence[str] = _ODD, seed: int = 1) -> list[str]:
    """Texts of words and of characters that are easily lost, the empty one first."""
    draw = np.random.default_rng(seed)
    return [
        "",
        *(
            "".join(odd[one] for one in draw.integers(0, len(odd), int(draw.integers(1, 15))))
            for _ in range(count - 1)
        ),
    ]
