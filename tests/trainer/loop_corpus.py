"""A corpus to train on in seconds: two sources of text, one of conversations, held-out shards of
each, and a tokenizer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from artifacts.ids import binary16, document_ids, native_key
from tokenizer.chat import encode_conversations
from tokenizer.encode import Tokenizer
from tokenizer.shards.manifest import SourceManifest
from tokenizer.shards.writer import write_encoded, write_source
from tokenizer.train import TrainConfig, train

WORDS = [
    "river",
    "boat",
    "mill",
    "bridge",
    "grass",
    "water",
    "dinner",
    "home",
    "stone",
    "light",
    "winter",
    "road",
    "letter",
    "garden",
    "window",
    "morning",
    "voice",
    "paper",
]
CODE = [
    "for index in range(10):\n    total += index\n",
    "if value is None:\n    return 0\n",
    "def area(width, height):\n    return width * height\n",
]


@dataclass(frozen=True)
class Corpus:
    """Shard folders by source, held-out folders by source, the tokenizer."""

    folders: dict[str, Path]
    held_out: dict[str, Path]
    tokenizer: Tokenizer


def web(seed: int, documents: int) -> list[str]:
    draw = np.random.default_rng(seed)
    return [
        " ".join(WORDS[index] for index in draw.integers(0, len(WORDS), int(draw.integers(8, 60))))
        + "."
        for _ in range(documents)
    ]


def code(seed: int, documents: int) -> list[str]:
    draw = np.random.default_rng(seed)
    return [
        "".join(CODE[index] for index in draw.integers(0, len(CODE), int(draw.integers(1, 5))))
        for _ in range(documents)
    ]


def conversations(seed: int, documents: int) -> list[list[dict[str, str]]]:
    draw = np.random.default_rng(seed)
    chats = []
    for _ in range(documents):
        left, right = (int(value) for value in draw.integers(0, 50, 2))
        chats.append(
            [
                {"role": "user", "content": f"add {left} and {right}"},
                {"role": "assistant", "content": f"{left + right}"},
            ]
        )
    return chats


def write_shards(
    folder: Path,
    source: str,
    tokens: pa.LargeListArray,
    trainable: pa.ListArray | None,
    tokenizer: Tokenizer,
) -> Path:
    """One source on disk."""
    folder.mkdir(parents=True)
    names = [str(number) for number in range(len(tokens))]
    hashes = binary16(b"".join(xxhash.xxh3_128_digest(name.encode()) for name in names))
    chunk = folder / "chunk.encoded"
    with chunk.open("wb") as out:
        write_encoded(
            out,
            document_ids(source, [native_key(name) for name in names]),
            hashes,
            tokens,
            trainable,
        )
    manifest = SourceManifest(
        source=source,
        tokenizer_hash=tokenizer.hash,
        dtype="uint16",
        vocab_size=tokenizer.vocab_size,
        eos_id=tokenizer.eos_id,
        shuffle_key="00000000000000ff",
    )
    write_source(folder, [chunk], manifest)
    chunk.unlink()
    return folder


def make_corpus(folder: Path, vocab_size: int = 384) -> Corpus:
    """Everything under one folder."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"web": web(1, 400), "code": code(2, 400)}
    chats = conversations(3, 300)
    spoken = [message["content"] for chat in chats for message in chat]
    sample = pa.array([*texts["web"], *texts["code"], *spoken], pa.large_string())
    train([sample], TrainConfig(vocab_size=vocab_size), folder / "tokenizer.model")
    tokenizer = Tokenizer.load(folder / "tokenizer.model")

    def texts_of(name: str, content: list[str]) -> Path:
        return write_shards(
            folder / name,
            name,
            tokenizer.encode(pa.array(content, pa.large_string()), eos=True),
            None,
            tokenizer,
        )

    def chats_of(name: str, content: list[list[dict[str, str]]]) -> Path:
        return write_shards(
            folder / name, name, *encode_conversations(pa.array(content), tokenizer), tokenizer
        )

    folders = {
        "web": texts_of("web", texts["web"]),
        "code": texts_of("code", texts["code"]),
        "chat": chats_of("chat", chats),
    }
    held_out = {
        "web": texts_of("web-validation", web(11, 40)),
        "code": texts_of("code-validation", code(12, 40)),
        "chat": chats_of("chat-validation", conversations(13, 40)),
    }
    return Corpus(folders, held_out, tokenizer)
