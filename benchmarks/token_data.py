"""Token shards of real text, as large as a benchmark needs: made once, then reused.

    PYTHONPATH=. python benchmarks/token_data.py --texts PATH... [--tokens 400e6]
        [--sources 3] [--work runs/benchmarks]

Reads every ``.jsonl.zst`` under the paths, trains a tokenizer on a sample of each file, encodes the
documents, and repeats them under different ids until the sources hold the tokens asked for:
contents, document lengths and the order of a shuffled source are those of real text, and only the
repetition is not. Documents without text (conversations) are left out. Files of one folder stay
together, and folders are dealt to the sources by size, so sources differ as those of a mixture do.
Where not all documents are needed (in the last repetition, or in the only one), every file gives
the same share of its tokens.

The result lies under ``WORK/tokens-KEY`` with ``KEY`` a hash of the files and the settings;
``data.json``, written last, says how often the text was repeated. ``stream.uint16`` holds the same
tokens bare, window after window, for readers that know no shards.
"""

from __future__ import annotations

import one_core  # isort: skip  (sets the thread pools)

import argparse
import io
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
import zstandard

from artifacts.ids import document_ids, native_key, text_hashes
from artifacts.keyed_hash import hash_key
from tokenizer.encode import Tokenizer
from tokenizer.shards.manifest import MANIFEST_FORMAT, SourceManifest
from tokenizer.shards.reader import ShardSource, open_source
from tokenizer.shards.shuffle import PART_TOKENS
from tokenizer.shards.writer import write_encoded_batches, write_source
from tokenizer.train import TrainConfig, train

VERSION = 1
FACTS = "data.json"
MODEL = "tokenizer.model"
STREAM = "stream.uint16"
SAMPLE_BYTES = 16 << 20  # of text that the tokenizer is trained on

# label, tokens and text hashes of a file's documents
Encoded = tuple[str, pa.LargeListArray, pa.FixedSizeBinaryArray]


@dataclass(frozen=True)
class TokenData:
    """A folder of shards: ``facts`` is its ``data.json``."""

    folder: Path
    facts: dict[str, Any]

    @property
    def folders(self) -> dict[str, Path]:
        return {name: self.folder / name for name in sorted(self.facts["sources"])}

    @property
    def sources(self) -> dict[str, ShardSource]:
        return {name: open_source(folder) for name, folder in self.folders.items()}

    @property
    def files(self) -> list[Path]:
        """Every part, in the order of the sources."""
        return [
            folder / part.file
            for folder in self.folders.values()
            for part in open_source(folder).manifest.parts
        ]

    @property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.load(self.folder / MODEL)

    def stream(self, sequence_length: int) -> Path:
        """All whole windows of all sources, one behind the other, as bare uint16; written on the
        first call.
        """
        path = self.folder / f"{sequence_length}-{STREAM}"
        if not path.exists():
            with path.with_suffix(".part").open("wb") as out:
                for source in self.sources.values():
                    rest = source.manifest.tokens // sequence_length * sequence_length
                    for number in range(len(source.manifest.parts)):
                        tokens = source.tokens(number)
                        for start in range(0, min(rest, len(tokens)), 1 << 24):
                            out.write(
                                tokens.read(
                                    start, min(start + (1 << 24), rest, len(tokens))
                                ).tobytes()
                            )
                        rest -= min(rest, len(tokens))
            path.with_suffix(".part").rename(path)
        return path


def load(folder: Path) -> TokenData:
    """Data that :func:`prepare` made."""
    return TokenData(folder, json.loads((folder / FACTS).read_text(encoding="utf-8")))


def prepare(
    work: Path,
    texts: Sequence[Path],
    tokens: int,
    *,
    names: Sequence[str] = ("first", "second", "third"),
    vocab_size: int = 16_384,
    part_tokens: int = PART_TOKENS,
    alike: bool = False,
) -> TokenData:
    """Shards of at least ``tokens`` tokens, an equal number in each of the named sources; made when
    they are not there.

    ``alike``: deal the documents of each file in turn, instead of folders, so that sources differ
    by chance alone.
    """
    files = [
        file
        for path in texts
        for file in (sorted(path.rglob("*.jsonl.zst")) if path.is_dir() else [path])
    ]
    if not files:
        raise SystemExit(f"no .jsonl.zst files under {', '.join(map(str, texts))}")
    settings = {
        "version": VERSION,
        "format": MANIFEST_FORMAT,
        "tokens": tokens,
        "names": list(names),
        "vocab_size": vocab_size,
    }
    digest = xxhash.xxh3_64(
        json.dumps({**settings, "part_tokens": part_tokens, "alike": alike}).encode()
    )
    for file in files:
        digest.update(file.name.encode() + file.read_bytes())
    folder = work / f"tokens-{digest.hexdigest()}"
    if not (folder / FACTS).exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        train(_sample(files), TrainConfig(vocab_size=vocab_size), folder / MODEL)
        tokenizer = Tokenizer.load(folder / MODEL)
        if tokenizer.token_type != pa.uint16():
            raise SystemExit(
                "a vocabulary of at most 65,536 pieces is needed: tokens are uint16 here"
            )
        facts = {}
        hands = [files] * len(names) if alike else _dealt(files, len(names))
        for number, (name, own) in enumerate(zip(names, hands, strict=True)):
            chosen = slice(number, None, len(names)) if alike else slice(None)
            facts[name] = _write(
                folder / name,
                name,
                _encoded(own, chosen, tokenizer),
                tokenizer,
                -(-tokens // len(names)),
                part_tokens,
            )
        (folder / FACTS).write_text(
            json.dumps({**settings, "sources": facts}, indent=1), encoding="utf-8"
        )
    return load(folder)


def texts_of(file: Path) -> pa.LargeStringArray:
    """The texts of a file's documents; those without text are left out."""
    with (
        file.open("rb") as raw,
        zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as stream,
    ):
        found = [orjson.loads(line).get("text") for line in io.BufferedReader(stream, 1 << 20)]
    return pa.array([text for text in found if isinstance(text, str) and text], pa.large_string())


def _sample(files: Sequence[Path]) -> Iterator[pa.LargeStringArray]:
    """The first documents of each file, an equal number of bytes from each."""
    for file in files:
        texts = texts_of(file)
        ends = np.cumsum(pc.binary_length(texts).to_numpy(zero_copy_only=False))
        yield texts.slice(0, int(np.searchsorted(ends, SAMPLE_BYTES // len(files))) + 1)


def _dealt(files: Sequence[Path], hands: int) -> list[list[Path]]:
    """Files for each source: whole folders, the largest first, each to the source with the fewest
    bytes.
    """
    groups: dict[Path, list[Path]] = {}
    for file in files:
        groups.setdefault(file.parent, []).append(file)
    stacks = list(groups.values()) if len(groups) >= hands else [[file] for file in files]
    if len(stacks) < hands:
        raise SystemExit(f"{hands} sources need at least as many files, {len(stacks)} found")
    dealt: list[list[Path]] = [[] for _ in range(hands)]
    for stack in sorted(stacks, key=lambda stack: (-_bytes(stack), stack[0].as_posix())):
        min(dealt, key=_bytes).extend(stack)
    return dealt


def _bytes(files: Sequence[Path]) -> int:
    return sum(file.stat().st_size for file in files)


def _encoded(files: Sequence[Path], chosen: slice, tokenizer: Tokenizer) -> list[Encoded]:
    """The chosen documents of each file, encoded; files without any are left out."""
    encoded: list[Encoded] = []
    for file in files:
        texts = texts_of(file)
        texts = texts.take(pa.array(range(len(texts))[chosen], pa.int64()))
        if len(texts):
            encoded.append((file.name, tokenizer.encode(texts, eos=True), text_hashes(texts)))
    if not encoded:
        raise SystemExit(f"no document with text in {', '.join(map(str, files))}")
    return encoded


def _write(
    folder: Path,
    name: str,
    encoded: list[Encoded],
    tokenizer: Tokenizer,
    tokens: int,
    part_tokens: int,
) -> dict[str, Any]:
    """One source; returns what it is made of."""
    folder.mkdir()
    once = sum(len(rows.values) for _, rows, _ in encoded)
    chunk = folder / "encoded.arrow"
    with chunk.open("wb") as out:
        write_encoded_batches(out, tokenizer.token_type, _repeated(name, encoded, tokens / once))
    empty = SourceManifest(
        source=name,
        tokenizer_hash=tokenizer.hash,
        dtype="uint16",
        vocab_size=tokenizer.vocab_size,
        eos_id=tokenizer.eos_id,
        shuffle_key=f"{hash_key(1, 'shards/' + name):016x}",
    )
    grown = write_source(folder, [chunk], empty, part_tokens)
    chunk.unlink()
    return {
        "documents": grown.rows,
        "tokens": grown.tokens,
        "different_documents": min(grown.rows, sum(len(rows) for _, rows, _ in encoded)),
        "times_repeated": round(grown.tokens / once, 2),
    }


def _repeated(
    name: str, encoded: Sequence[Encoded], times: float
) -> Iterator[tuple[pa.FixedSizeBinaryArray, pa.FixedSizeBinaryArray, pa.LargeListArray, None]]:
    """The documents ``times`` times, each time under other ids; the last time, of each file the
    share that is left.
    """
    for repeat in range(math.ceil(times)):
        for label, rows, hashes in encoded:
            ends = rows.offsets.to_numpy()[1:]
            count = min(len(rows), int(np.searchsorted(ends, (times - repeat) * ends[-1])) + 1)
            ids = document_ids(
                name, (native_key(f"{repeat}/{label}/{row}") for row in range(count))
            )
            yield ids, hashes.slice(0, count), rows.slice(0, count), None


def add_options(parser: argparse.ArgumentParser, tokens: float) -> None:
    """The options of every script that works on this data."""
    parser.add_argument(
        "--texts",
        nargs="+",
        type=Path,
        default=[one_core.ROOT / "examples" / "corpus"],
        metavar="PATH",
    )
    parser.add_argument(
        "--tokens",
        type=float,
        default=tokens,
        help="tokens in all sources together (default: %(default)g)",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=one_core.WORK,
        help="folder for what is made once (default: %(default)s)",
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, 400e6)
    parser.add_argument("--sources", type=int, default=3, choices=range(1, 4))
    arguments = parser.parse_args()
    data = prepare(
        arguments.work,
        arguments.texts,
        int(arguments.tokens),
        names=("first", "second", "third")[: arguments.sources],
    )
    print(data.folder)
    print(json.dumps(data.facts, indent=1))


if __name__ == "__main__":
    main()
