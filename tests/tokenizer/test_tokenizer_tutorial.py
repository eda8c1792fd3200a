"""The package's tutorial, end to end: text, tokenizer, ids, shards, a window of tokens."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from artifacts.ids import document_ids, native_key, text_hashes
from artifacts.keyed_hash import hash_key, keyed_order
from artifacts.schemas import MESSAGES
from tokenizer.chat import encode_conversations, render
from tokenizer.encode import Tokenizer
from tokenizer.shards.manifest import SourceManifest
from tokenizer.shards.reader import open_source
from tokenizer.shards.verify import verify
from tokenizer.shards.writer import write_encoded, write_source
from tokenizer.train import TrainConfig, train


def empty_manifest(source: str, tokenizer: Tokenizer) -> SourceManifest:
    return SourceManifest(
        source=source,
        tokenizer_hash=tokenizer.hash,
        dtype="uint16",
        vocab_size=tokenizer.vocab_size,
        eos_id=tokenizer.eos_id,
        shuffle_key=f"{hash_key(1, 'shards'):016x}",
    )


def test_documents_become_a_sound_source_that_decodes_to_them(tmp_path: Path) -> None:
    texts = pa.array(
        [
            f"Hello world. {number}" if number % 2 else f"你好，世界。{number}"
            for number in range(500)
        ],
        pa.large_string(),
    )
    ids = document_ids("greetings", [native_key(str(number)) for number in range(500)])
    report = train([texts], TrainConfig(vocab_size=320), tmp_path / "tokenizer.model")
    tokenizer = Tokenizer.load(tmp_path / "tokenizer.model")
    tokens = tokenizer.encode(texts, eos=True)
    assert (report.vocab_size, tokenizer.decode(tokens, controls=False)) == (320, texts)

    with (tmp_path / "chunk.arrow").open("wb") as out:
        write_encoded(out, ids, text_hashes(texts), tokens)
    manifest = write_source(
        tmp_path,
        [tmp_path / "chunk.arrow"],
        empty_manifest("greetings", tokenizer),
        part_tokens=1000,
    )
    assert len(manifest.parts) > 2
    assert verify(tmp_path, tokenizer) == []

    source = open_source(tmp_path, tokenizer.hash)
    shuffled = texts.take(pa.array(keyed_order(ids, hash_key(1, "shards"))))
    stored = [source.tokens(part) for part in range(len(manifest.parts))]
    first = [
        tokenizer.decode_tokens(stored[0].document(row).tolist(), controls=False)
        for row in range(5)
    ]
    assert first == shuffled[:5].to_pylist()
    everything = "".join(
        tokenizer.decode_tokens(part.read(0, len(part)).tolist()) for part in stored
    )
    assert everything == "".join(f"{text}</s>" for text in shuffled.to_pylist())


def test_conversations_become_shards_whose_targets_are_the_answers(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    talks = [
        [
            {"role": "user", "content": f"the river {number}"},
            {"role": "assistant", "content": f"small boats {number}"},
        ]
        for number in range(30)
    ]
    ids = document_ids("chats", [native_key(str(number)) for number in range(30)])
    hashes = text_hashes(pa.array([render(talk) for talk in talks], pa.large_string()))
    with (tmp_path / "chunk.arrow").open("wb") as out:
        write_encoded(out, ids, hashes, *encode_conversations(pa.array(talks, MESSAGES), tokenizer))
    manifest = write_source(
        tmp_path, [tmp_path / "chunk.arrow"], empty_manifest("chats", tokenizer)
    )
    assert verify(tmp_path, tokenizer) == []
    table = open_source(tmp_path).table(0)
    targets = [
        tokenizer.decode_tokens(row[span["start"] : span["end"]])
        for row, spans in zip(
            table["tokens"].to_pylist(), table["trainable"].to_pylist(), strict=True
        )
        for span in spans
    ]
    assert sorted(targets) == sorted(f"small boats {number}</s>" for number in range(30))
    assert manifest.trainable_tokens < manifest.tokens
