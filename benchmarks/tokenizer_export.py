"""Do exported tokenizer files give our ids in transformers, on real lines and on random strings.

    PYTHONPATH=. python benchmarks/tokenizer_export.py --texts PATH... [--lines 100000]
        [--model tokenizer.model | --vocabulary 16000] [--python PYTHON ...]

Takes ``--lines`` lines of the given files (``.jsonl``, ``.jsonl.zst``, plain text; in turn from
each), a fiftieth as many documents, and as many random strings as lines, made of letters of all
scripts, runs of spaces, tabs and line ends, NUL, U+2581, bytes' names and pieces of the vocabulary
cut anywhere. Without ``--model`` a tokenizer is trained on a sample of the same files first. What
spells a control piece is compared with ``split_special_tokens=True``, all else as it is; and a
fiftieth as many conversations of such strings, their ids and targets, as the chat template renders
them.

Each ``--python`` (default: this one) is an interpreter whose transformers encodes and decodes them:
it runs ``peers/tokenizer_ids.py``, which needs nothing else. Prints JSON: for each interpreter its
versions and, by group, strings, ids, how many differ, how many do not come back, and the first
differences. Exit code 1 where anything differs.
"""

from __future__ import annotations

import one_core  # isort: skip  (sets the thread pools)

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import chain, filterfalse, islice, zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa

from artifacts.schemas import MESSAGES
from pipelines.readers.texts import text_files, texts_of
from tokenizer.chat import ROLES, encode_conversations
from tokenizer.encode import Tokenizer
from tokenizer.huggingface.compare import Controls
from tokenizer.huggingface.files import huggingface_files
from tokenizer.huggingface.pieces import same_pieces
from tokenizer.train import TrainConfig, train_model

PEER = Path(__file__).parent / "peers" / "tokenizer_ids.py"
SAMPLE_BYTES = 24 << 20
LONGEST = 20_000  # characters of a line or document
SCRIPTS = (
    (0x20, 0x7E), (0xA1, 0x17F), (0x370, 0x3FF), (0x400, 0x4FF), (0x5D0, 0x5EA), (0x621, 0x64A),
    (0x905, 0x939), (0xE01, 0xE30), (0x3041, 0x30FF), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3),
    (0x1F300, 0x1F6FF), (0x0, 0x1F), (0x2000, 0x206F), (0xE000, 0xE0FF), (0x10FFF0, 0x10FFFF),
)  # fmt: skip
HARD = (
    "\u2581", "\u2581\u2581", " \u2581 ", "\x00", "\n", "\n\n", "\t", "\t\t\t", "\r\n", " ", "  ",
    "   ", "        ", " " * 17, "<0x41>", "<0x0A>", "<0xE2>", "e\u0301", "👩‍👩‍👧", "\ufeff", "<",
    ">", "</", "<s", "aaaaaaa", "======", "哈哈哈哈", "1234567890", "0x1F", "if (x) {\n\t\t",
)  # fmt: skip


def main() -> int:
    one_core.pin(None)
    options = _options()
    files = text_files(options.texts)
    by_file = [
        [text for batch in texts_of(file) for text in batch.texts.to_pylist()] for file in files
    ]
    texts = [text for one in by_file for text in one]
    draw = random.Random(options.seed)
    tokenizer = _tokenizer(options, texts, draw)
    controls = Controls(tokenizer)
    few = max(options.lines // 50, 1)
    made = {
        "lines": _in_turn([_lines(one, draw) for one in by_file], options.lines),
        "documents": [draw.choice(texts)[:LONGEST] for _ in range(few)],
        "random": list(
            islice(filterfalse(controls.spelled, _strings(tokenizer, draw)), options.lines)
        ),
        "spelling": list(_spelling(same_pieces(tokenizer).controls, options.lines // 10, draw)),
    }
    groups = {name: list(filterfalse(controls.spelled, one)) for name, one in made.items()}
    groups["spelling"] = list(filter(controls.spelled, chain(*made.values())))
    talks = _talks(groups["random"], few, draw)
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), tokenizer, groups)
        _write_talks(Path(folder), tokenizer, talks)
        peers = [_peer(python, folder) for python in options.python or [sys.executable]]
    result = {
        "files": len(files),
        "vocabulary": tokenizer.vocab_size,
        "model": tokenizer.hash,
        "bytes": {name: sum(len(text.encode()) for text in one) for name, one in groups.items()},
        "chats": len(talks),
        "peers": peers,
    }
    print(json.dumps(result, ensure_ascii=False, indent=1))
    wrong = ("different", "not_restored", "without_bos", "other_targets")
    found = [one for peer in peers for one in peer["groups"].values()]
    return int(any(one.get(name) for one in found for name in wrong))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", nargs="+", required=True)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--vocabulary", type=int, default=16_000)
    parser.add_argument("--python", action="append")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def _tokenizer(options: argparse.Namespace, texts: Sequence[str], draw: random.Random) -> Tokenizer:
    if options.model is not None:
        return Tokenizer.load(options.model)
    sample, size = [], 0
    for place in draw.sample(range(len(texts)), len(texts)):
        text = texts[place][: 1 << 16]
        if size + len(text.encode()) <= SAMPLE_BYTES:
            sample.append(text)
            size += len(text.encode())
    config = TrainConfig(vocab_size=options.vocabulary)
    return Tokenizer.load(train_model([pa.array(sample, pa.large_string())], config)[0])


def _lines(texts: Sequence[str], draw: random.Random) -> list[str]:
    """Lines with their ends, shuffled; empty ones are left out."""
    found = [
        line[:LONGEST] for text in texts for line in text.splitlines(keepends=True) if line.strip()
    ]
    draw.shuffle(found)
    return found


def _in_turn(lines: Sequence[Sequence[str]], count: int) -> list[str]:
    """One of each, then another of each, as long as there are any."""
    turns = chain.from_iterable(zip_longest(*lines))
    return list(islice((line for line in turns if line is not None), count))


def _talks(texts: Sequence[str], count: int, draw: random.Random) -> list[list[dict[str, str]]]:
    """Conversations of two to five messages, each with an answer that says something."""
    talks = []
    for _ in range(count):
        roles = [draw.choice(ROLES) for _ in range(draw.randint(1, 4))]
        talk = [{"role": role, "content": draw.choice(texts) + "."} for role in roles]
        talks.append([*talk, {"role": "assistant", "content": draw.choice(texts) + "."}])
    return talks


def _strings(tokenizer: Tokenizer, draw: random.Random) -> Iterator[str]:
    pieces = list(same_pieces(tokenizer).normal)
    while True:
        parts = []
        for _ in range(draw.randint(1, 12)):
            kind = draw.random()
            if kind < 0.35:
                low, high = draw.choice(SCRIPTS)
                parts += [chr(draw.randint(low, high)) for _ in range(draw.randint(1, 6))]
            elif kind < 0.65:
                piece = draw.choice(pieces)
                cut = draw.randint(0, len(piece))
                parts.append(piece[cut:] + piece[:cut] if kind < 0.5 else piece)
            else:
                parts.append(draw.choice(HARD) * draw.randint(1, 3))
        yield "".join(parts)


def _spelling(names: Sequence[str], count: int, draw: random.Random) -> Iterator[str]:
    for _ in range(count):
        yield "".join(draw.choice((draw.choice(names), draw.choice(HARD))) for _ in range(8))


def _write(folder: Path, tokenizer: Tokenizer, groups: dict[str, list[str]]) -> None:
    for name, content in huggingface_files(tokenizer).items():
        (folder / name).write_bytes(content)
    for group, texts in groups.items():
        ids = tokenizer.encode(pa.array(texts, pa.large_string())).to_pylist()
        with open(folder / f"{group}.jsonl", "w", encoding="utf-8") as file:
            for text, row in zip(texts, ids, strict=True):
                file.write(json.dumps({"text": text, "ids": row}) + "\n")


def _write_talks(
    folder: Path, tokenizer: Tokenizer, talks: Sequence[Sequence[dict[str, str]]]
) -> None:
    tokens, spans = encode_conversations(pa.array(talks, MESSAGES), tokenizer)
    with open(folder / "chats.jsonl", "w", encoding="utf-8") as file:
        for talk, ids, targets in zip(talks, tokens.to_pylist(), spans.to_pylist(), strict=True):
            mask = [0] * (len(ids) + 1)  # BOS first
            for span in targets:
                mask[span["start"] + 1 : span["end"] + 1] = [1] * (span["end"] - span["start"])
            row = {"messages": talk, "ids": [tokenizer.bos_id, *ids], "mask": mask}
            file.write(json.dumps(row) + "\n")


def _peer(python: str, folder: str) -> dict[str, Any]:
    done = subprocess.run(
        [python, str(PEER), folder], stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    raise SystemExit(main())
