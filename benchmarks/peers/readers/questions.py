"""What readers are asked, and what our program answers.

    lines.jsonl, spelling.jsonl   text, ids: lines and hard strings; of the second each spells a
                                  control piece
    chats.jsonl                   messages, ids, prompt (ids up to the last answer), targets
    MODEL.npz                     text_N, logits_N; prompt_N, said_N; windows, losses; packed_ids,
                                  packed_positions, packed_logits

Shapes: T tokens of a text, W windows of S tokens, V vocabulary.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from artifacts.schemas import MESSAGES
from benchmarks.peers.readers import comparing
from tokenizer.chat import encode_conversations
from tokenizer.encode import Tokenizer
from tokenizer.huggingface.compare import Controls
from trainer.evaluation.generate import continuation
from trainer.generation.chat import chat_prompt
from trainer.generation.settings import GenerateSettings
from trainer.model import Model

Ids = NDArray[np.int64]

# packed documents in 256ths of a window, within the quarter of it that dynamic NTK starts from:
# stock code scales all positions of a row by the longest
LENGTHS, PACKED, PROMPT, SAID = (1, 7, 64, 200), (40, 24, 60), 8, 64
PROMPTS, CHATS, LONGEST_LINE = 8, 200, 2000
HARD = (
    "\u2581", "\u2581\u2581", " \u2581 ", "\x00", "\n\n", "\t", "\t\t\t", "\r\n", "  ", "   ",
    " " * 8, " " * 17, "<0x41>", "<0xE2>", "e\u0301", "\ufeff", "<", "</", "aaaaaaa",
    "\U0001f469\u200d\U0001f467", "哈哈哈哈", "\U00020bb7", "\ue000",
)  # fmt: skip
"""What tokenizers are known to stumble over."""
CONTROLS = ("<s>", "</s>", "<User>", "<AI>", "<unk>")


@dataclass(frozen=True)
class Questions:
    """Ids, BOS first: ``texts`` of several lengths, ``packed`` documents of one row, ``prompts``,
    ``windows`` (W, S).
    """

    texts: list[Ids]
    packed: list[Ids]
    prompts: list[Ids]
    windows: Ids


def ask(
    tokenizer: Tokenizer, texts: Sequence[str], window: int, tokens: int, draw: random.Random
) -> Questions:
    """Questions from real texts, drawn alike from all; ``tokens`` are those whose loss is taken."""
    wanted = -(-tokens // (window - 1))
    rows: list[Ids] = []
    for place in draw.sample(range(len(texts)), len(texts)):
        ids = [tokenizer.bos_id, *tokenizer.encode_text(texts[place][: 20 * window])]
        if len(ids) >= window:
            rows.append(np.array(ids[:window], np.int64))
        if len(rows) == wanted:
            break
    if len(rows) < max(PROMPTS, *map(len, (LENGTHS, PACKED))):
        raise SystemExit(f"only {len(rows)} of the texts have {window} tokens: give more texts")
    return Questions(
        texts=[row[:length] for row, length in zip(rows, LENGTHS, strict=False)],
        packed=[row[: part * window // 256] for row, part in zip(rows, PACKED, strict=False)],
        prompts=[row[:PROMPT] for row in rows[:PROMPTS]],
        windows=np.stack(rows),
    )


@torch.inference_mode()
def answers(model: Model, asked: Questions, eos: int) -> dict[str, NDArray[Any]]:
    """What the model itself answers, computed in fp32."""
    said = [
        continuation(model, ids.tolist(), eos, GenerateSettings(tokens=SAID))
        for ids in asked.prompts
    ]
    losses = [comparing.losses(_logits(model, row), row) for row in asked.windows]
    return {
        **{f"text_{number}": ids for number, ids in enumerate(asked.texts)},
        **{f"logits_{number}": _logits(model, ids) for number, ids in enumerate(asked.texts)},
        **{f"prompt_{number}": ids for number, ids in enumerate(asked.prompts)},
        **{f"said_{number}": np.array(ids, np.int64) for number, ids in enumerate(said)},
        "windows": asked.windows,
        "losses": np.stack(losses),
        "packed_ids": np.concatenate(asked.packed),
        "packed_positions": np.concatenate([np.arange(len(ids)) for ids in asked.packed]),
        "packed_logits": np.concatenate([_logits(model, ids) for ids in asked.packed]),
    }


def _logits(model: Model, ids: Ids) -> comparing.Logits:
    """Scores (T, V) of one text by itself."""
    tokens = torch.from_numpy(ids)[None]
    scores = model.logits(model(tokens, torch.arange(len(ids))[None]))[0].float()
    found: comparing.Logits = scores.numpy()
    return found


def write_texts(
    folder: Path, tokenizer: Tokenizer, texts: Sequence[str], count: int, draw: random.Random
) -> dict[str, int]:
    """Write lines, spellings and conversations with our ids; returns how many of each.

    Half as many strings as lines are made of parts of lines between hard characters.
    """
    lines = drawn_lines(texts, count, draw)
    strings = list(hard_strings(lines, count // 2, draw))
    named = [
        "".join(draw.choice((draw.choice(CONTROLS), line[:30])) for line in draw.sample(lines, 6))
        for _ in range(count // 20)
    ]
    controls = Controls(tokenizer)
    groups: dict[str, list[str]] = {"lines": [], "spelling": []}
    for text in (*lines, *strings, *named):
        groups["spelling" if controls.spelled(text) else "lines"].append(text)
    for name, group in groups.items():
        ids = tokenizer.encode(pa.array(group, pa.large_string())).to_pylist()
        _write(
            folder / f"{name}.jsonl",
            ({"text": text, "ids": row} for text, row in zip(group, ids, strict=True)),
        )
    told = [line for line in lines if line.strip() and not controls.spelled(line)]
    chats = conversations(told, CHATS, draw)
    _write(folder / "chats.jsonl", encoded_chats(tokenizer, chats))
    return {**{name: len(group) for name, group in groups.items()}, "chats": len(chats)}


def drawn_lines(texts: Sequence[str], count: int, draw: random.Random) -> list[str]:
    """Lines with their ends, drawn from all texts alike; blank ones are left out."""
    found = [
        line[:LONGEST_LINE]
        for text in texts
        for line in text.splitlines(keepends=True)
        if line.strip()
    ]
    return draw.sample(found, min(count, len(found)))


def hard_strings(lines: Sequence[str], count: int, draw: random.Random) -> Iterator[str]:
    """Parts of lines between hard characters."""
    for _ in range(count):
        parts = []
        for line in draw.choices(lines, k=draw.randint(1, 4)):
            start = draw.randint(0, len(line) - 1)
            parts += [draw.choice(HARD), line[start : start + draw.randint(1, 12)]]
        yield "".join(parts)


def conversations(
    lines: Sequence[str], count: int, draw: random.Random
) -> list[list[dict[str, str]]]:
    """Conversations of drawn lines: now and then a system's message, then one to three turns."""
    found = []
    for _ in range(count):
        roles = ["system"] * draw.randint(0, 1) + ["user", "assistant"] * draw.randint(1, 3)
        found.append([{"role": role, "content": draw.choice(lines)} for role in roles])
    return found


def encoded_chats(
    tokenizer: Tokenizer, chats: Sequence[list[dict[str, str]]]
) -> Iterable[dict[str, Any]]:
    """Conversations with our ids, BOS first, those up to the last answer, and which are targets."""
    rows, spans = encode_conversations(pa.array(chats, MESSAGES), tokenizer)
    for messages, row, targets in zip(chats, rows.to_pylist(), spans.to_pylist(), strict=True):
        mask = [0] * (1 + len(row))
        for span in targets:
            for place in range(span["start"], span["end"]):
                mask[1 + place] = 1
        yield {
            "messages": messages,
            "ids": [tokenizer.bos_id, *row],
            "prompt": chat_prompt(tokenizer, messages[:-1]),
            "targets": mask,
        }


def _write(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    with open(file, "w", encoding="utf-8") as output:
        for row in rows:
            output.write(json.dumps(row) + "\n")
