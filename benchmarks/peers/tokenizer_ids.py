"""Texts through transformers, held against ids that were computed elsewhere; prints JSON.

    python benchmarks/peers/tokenizer_ids.py FOLDER

FOLDER holds a tokenizer's files, ``text`` and ``ids`` a line in ``lines.jsonl``,
``documents.jsonl``, ``random.jsonl`` and ``spelling.jsonl``, and ``messages``, ``ids`` and ``mask``
in ``chats.jsonl``. Needs transformers and jinja2 alone. ``spelling`` is encoded with
``split_special_tokens=True``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import tokenizers
import transformers

AT_ONCE, SHOWN = 1000, 5


def main() -> None:
    folder = Path(sys.argv[1])
    groups = {}
    for name in ("lines", "documents", "random", "spelling"):
        split = {"split_special_tokens": True} if name == "spelling" else {}
        stock = transformers.AutoTokenizer.from_pretrained(folder, **split)
        groups[name] = compared(stock, folder / f"{name}.jsonl")
    groups["chats"] = chats(
        transformers.AutoTokenizer.from_pretrained(folder), folder / "chats.jsonl"
    )
    versions = {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__}
    print(json.dumps({**versions, "class": type(stock).__name__, "groups": groups}))


def compared(stock: Any, file: Path) -> dict[str, Any]:
    counts = {"texts": 0, "ids": 0, "different": 0, "not_restored": 0, "without_bos": 0}
    first: list[dict[str, Any]] = []
    for rows in batches(file):
        texts = [row["text"] for row in rows]
        bare = stock(texts, add_special_tokens=False)["input_ids"]
        whole = stock(texts)["input_ids"]
        for row, ids, begun in zip(rows, bare, whole, strict=True):
            counts["texts"] += 1
            counts["ids"] += len(ids)
            counts["without_bos"] += begun != [stock.bos_token_id, *ids]
            counts["not_restored"] += stock.decode(ids) != row["text"]
            if ids != row["ids"]:
                counts["different"] += 1
                if len(first) < SHOWN:
                    first.append({"text": row["text"][:200], "ours": row["ids"], "theirs": ids})
    return {**counts, "first": first}


def chats(stock: Any, file: Path) -> dict[str, Any]:
    counts = {"chats": 0, "ids": 0, "different": 0, "other_targets": 0}
    for rows in batches(file):
        for row in rows:
            made = stock.apply_chat_template(
                row["messages"], return_dict=True, return_assistant_tokens_mask=True
            )
            counts["chats"] += 1
            counts["ids"] += len(row["ids"])
            counts["different"] += made["input_ids"] != row["ids"]
            counts["other_targets"] += made["assistant_masks"] != row["mask"]
    return counts


def batches(file: Path) -> Iterator[list[dict[str, Any]]]:
    with open(file, encoding="utf-8") as lines:
        while rows := [json.loads(line) for line in islice(lines, AT_ONCE)]:
            yield rows


if __name__ == "__main__":
    main()
