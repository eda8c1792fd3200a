"""A small corpus and the tokenizer trained on it, once per session."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tokenizer.encode import Tokenizer
from tokenizer.train import TrainConfig, train

SENTENCE = (
    "the river carried small boats past the old mill while children counted them from the bridge and a dog slept "
    "in the warm grass until somebody called its name across the water because dinner was ready at home"
)
CHINESE = "春天来了河边的小船慢慢地走过老磨坊孩子们在桥上数着船一只狗在草地上睡觉直到有人叫它的名字晚饭已经准备好了"
CODE = [
    "def area(width, height):\n    if width < 0:\n        raise ValueError('width')\n    return width * height\n",
    "for (int i = 0; i < 128; i++) {\n\t\tsum += table[i];\n\t}\n",
    '<p class="note"><s>struck</s> <b>bold</b> &amp; plain</p>\n',
]


def corpus(documents: int, seed: int) -> list[str]:
    """Documents of English, Chinese and code, drawn from small word lists."""
    draw = np.random.default_rng(seed)
    texts = []
    english = SENTENCE.split()
    for number in range(documents):
        words = [
            english[index] for index in draw.integers(0, len(english), int(draw.integers(5, 60)))
        ]
        start = int(draw.integers(0, len(CHINESE) - 12))
        lines = [
            " ".join(words).capitalize() + ".",
            CHINESE[start : start + 12] + "。",
            CODE[number % len(CODE)],
        ]
        texts.append("\n".join(lines[: 1 + number % 3]))
    return texts


@pytest.fixture(scope="session")
def texts() -> pa.LargeStringArray:
    return pa.array(corpus(300, 7), pa.large_string())


@pytest.fixture(scope="session")
def model_path(texts: pa.LargeStringArray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tokenizer.model"
    train([texts], TrainConfig(vocab_size=640, reserved=4), path)
    return path


@pytest.fixture(scope="session")
def tokenizer(model_path: Path) -> Tokenizer:
    return Tokenizer.load(model_path)
