"""Exported folders through transformers, held against answers that were computed elsewhere.

    python benchmarks/peers/readers/in_transformers.py QUESTIONS CASE...

Runs in an environment of its own, with transformers, torch and numpy. A CASE is a folder with
``case.json`` and ``model/``; QUESTIONS holds ``lines.jsonl``, ``spelling.jsonl`` and
``chats.jsonl``. The last line of standard output is a JSON object.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import comparing
import numpy as np
import tokenizers
import torch
import transformers

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def main() -> None:
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    questions = Path(sys.argv[1])
    cases, texts = {}, {}
    for folder in map(Path, sys.argv[2:]):
        case = json.loads((folder / "case.json").read_text())
        cases[case["name"]] = read(folder, case)
        if case["tokenizer"]:
            texts[case["layout"]] = read_texts(folder / "model", questions)
    versions = {
        module.__name__: module.__version__ for module in (transformers, tokenizers, torch, np)
    }
    print(json.dumps({"versions": versions, "cases": cases, "texts": texts}))


@torch.inference_mode()
def read(folder: Path, case: dict[str, Any]) -> dict[str, Any]:
    """Logits, losses, packed documents and greedy texts of one case."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder / "model", dtype=DTYPES[case["dtype"]], attn_implementation="eager"
    ).eval()
    with np.load(case["answers"]) as found:
        answers = dict(found)
    reader = Reader(model, case["scaling"] == "dynamic")
    pairs = [(ours, reader.logits(ids)) for ids, ours in numbered(answers, "text", "logits")]
    theirs = np.stack([comparing.losses(reader.logits(row), row) for row in answers["windows"]])
    result = {
        "class": type(model).__name__,
        "logits": comparing.logit_difference(pairs),
        "loss": comparing.loss_difference(answers["losses"], theirs),
        "packed": comparing.logit_difference([(answers["packed_logits"], reader.packed(answers))]),
    }
    if case["dtype"] == "fp32":
        said = [
            (ours.tolist(), reader.said(ids)) for ids, ours in numbered(answers, "prompt", "said")
        ]
        result["greedy"] = comparing.text_difference(said)
    return result


class Reader:
    """A loaded model. ``dynamic``: its positions depend on the longest text it has seen since the
    last short one, so a short one goes before each, and keys are not kept.
    """

    def __init__(self, model: Any, dynamic: bool) -> None:
        self.model, self.dynamic = model, dynamic

    def logits(self, ids: np.ndarray) -> np.ndarray:
        self._forget()
        return self._scores(torch.from_numpy(ids)[None])

    def packed(self, answers: dict[str, np.ndarray]) -> np.ndarray:
        """Several documents in one row, kept apart by positions that begin anew."""
        self._forget()
        positions = torch.from_numpy(answers["packed_positions"])[None]
        ids = torch.from_numpy(answers["packed_ids"])[None]
        return self._scores(ids, position_ids=positions, attention_mask=None, use_cache=False)

    def said(self, prompt: np.ndarray) -> list[int]:
        self._forget()
        ids = torch.from_numpy(prompt)[None]
        found = self.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=64,
            do_sample=False,
            pad_token_id=0,
            use_cache=not self.dynamic,
        )[0, len(prompt) :].tolist()
        eos = self.model.generation_config.eos_token_id
        return found[: found.index(eos)] if eos in found else found

    def _scores(self, ids: torch.Tensor, **arguments: Any) -> np.ndarray:
        scores: np.ndarray = self.model(ids, **arguments).logits[0].float().numpy()
        return scores

    def _forget(self) -> None:
        if self.dynamic:
            self.model(torch.zeros((1, 1), dtype=torch.int64))


def numbered(
    answers: dict[str, np.ndarray], first: str, second: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of arrays ``first_0, second_0``, ``first_1, second_1`` …"""
    number = 0
    while f"{first}_{number}" in answers:
        yield answers[f"{first}_{number}"], answers[f"{second}_{number}"]
        number += 1


def read_texts(model: Path, questions: Path) -> dict[str, Any]:
    """Ids of lines, and conversations through the chat template."""
    stock = transformers.AutoTokenizer.from_pretrained(model)
    split = transformers.AutoTokenizer.from_pretrained(model, split_special_tokens=True)
    chats = records(questions / "chats.jsonl")
    return {
        "class": type(stock).__name__,
        "lines": ids_of(stock, records(questions / "lines.jsonl")),
        "spelling": ids_of(split, records(questions / "spelling.jsonl")),
        "not_restored": sum(
            split.decode(row["ids"]) != row["text"] for row in records(questions / "lines.jsonl")
        ),
        "chats": {
            "conversations": comparing.id_difference(rendered(stock, chats, "ids", False)),
            "up_to_the_answer": comparing.id_difference(rendered(stock, chats, "prompt", True)),
            "other_targets": sum(targets(stock, row) != row["targets"] for row in chats),
        },
    }


def records(file: Path) -> list[dict[str, Any]]:
    with open(file, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def ids_of(stock: Any, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    theirs = stock([row["text"] for row in rows], add_special_tokens=False)["input_ids"]
    return comparing.id_difference(
        (row["text"], row["ids"], ids) for row, ids in zip(rows, theirs, strict=True)
    )


def rendered(
    stock: Any, chats: Sequence[dict[str, Any]], name: str, to_be_answered: bool
) -> Iterator[tuple[str, list[int], list[int]]]:
    """Texts of the template with our ids and theirs."""
    for row in chats:
        messages = row["messages"][:-1] if to_be_answered else row["messages"]
        text = stock.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=to_be_answered
        )
        yield text, row[name], stock(text, add_special_tokens=False)["input_ids"]


def targets(stock: Any, row: dict[str, Any]) -> list[int]:
    """Which tokens of a conversation the template marks as the assistant's."""
    found = stock.apply_chat_template(
        row["messages"], tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    mask: list[int] = found["assistant_masks"]
    return mask


if __name__ == "__main__":
    main()
