"""Token shards: the tokens of a source on disk, shuffled, checked, and readable in any part.

    encoded chunks ─ shuffle, writer ─▶ parts, their indexes, source.json last
    folder ─ reader ─▶ tokens and documents, zero-copy     folder ─ verify ─▶ what is not sound
    ids ─ take_down ─▶ tombstones: documents that are shown no more, nothing else moves

A part is an Arrow IPC file of record batches; ``source.json`` (:mod:`~tokenizer.shards.manifest`)
pins parts by checksum, and the index of each part (:mod:`~tokenizer.shards.part_index`) says where
its record batches lie, so that a store is read in ranges (:mod:`~tokenizer.shards.record_batch`).
Columns are in :mod:`~tokenizer.shards.format`, damage is located by
:mod:`~tokenizer.shards.damage`.

>>> from pathlib import Path
>>> import pyarrow as pa
>>> from artifacts.ids import document_ids, native_key, text_hashes
>>> from tokenizer.encode import Tokenizer
>>> from tokenizer.shards.manifest import SourceManifest
>>> from tokenizer.shards.reader import open_source
>>> from tokenizer.shards.writer import write_encoded, write_source
>>> from tokenizer.train import TrainConfig, train
>>> texts = pa.array([f"Hello world. {number}" for number in range(500)], pa.large_string())
>>> report = train([texts], TrainConfig(vocab_size=320), "hello.model")
>>> tokenizer = Tokenizer.load("hello.model")
>>> ids = document_ids("hello", [native_key(str(number)) for number in range(500)])
>>> with open("chunk.arrow", "wb") as out:
...     written = write_encoded(out, ids, text_hashes(texts), tokenizer.encode(texts, eos=True))
>>> manifest = SourceManifest(
...     source="hello", tokenizer_hash=tokenizer.hash, dtype="uint16", vocab_size=320,
...     eos_id=tokenizer.eos_id, shuffle_key="00000000000000ff",
... )
>>> Path("hello").mkdir()
>>> manifest = write_source(Path("hello"), [Path("chunk.arrow")], manifest, part_tokens=2000)
>>> tokens = open_source("hello", tokenizer.hash).tokens(0)
>>> tokenizer.decode_tokens(tokens.read(0, 8).tolist()).startswith("Hello world. ")
True
"""
