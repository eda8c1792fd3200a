"""Exported folders through llama.cpp, held against answers that were computed elsewhere.

    LLAMA_CPP_LIB_PATH=LIBRARY PYTHONPATH=SOURCE python benchmarks/peers/readers/in_llama_cpp.py
        SOURCE/vendor/llama.cpp QUESTIONS CASE...

SOURCE is llama-cpp-python's, LIBRARY the folder of the built llama.cpp. Each case is converted by
llama.cpp's own converter, with its own gguf-py, and run on one thread. CASE and QUESTIONS as in
``in_transformers.py``. The last line of standard output is a JSON object.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import comparing
import llama_cpp
import numpy as np
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

GGML_F32, GGML_F16 = 0, 1
CONTEXT, SAID = 512, 64
NO_PREFIX = {"tokenizer.ggml.add_space_prefix": False}


def main() -> None:
    source, questions, *folders = map(Path, sys.argv[1:])
    cases, texts = {}, {}
    for folder in folders:
        case = json.loads((folder / "case.json").read_text())
        cases[case["name"]] = {kind: read(source, folder, case, kind) for kind in case["outtypes"]}
        if case["tokenizer"]:
            file = gguf(source, folder, case["outtypes"][0])
            texts[case["layout"]] = read_texts(file, questions)
            if case["layout"] == "minicpm":
                texts["minicpm without a space before a text"] = read_texts(
                    file, questions, NO_PREFIX
                )
    versions = {
        "llama-cpp-python": llama_cpp.__version__,
        **{name: metadata.version(name) for name in ("transformers", "torch", "numpy")},
    }
    print(json.dumps({"versions": versions, "cases": cases, "texts": texts}))


def gguf(source: Path, folder: Path, kind: str) -> Path:
    """The converted model. Raises: ConversionError with the converter's last line."""
    file = folder / f"{kind}.gguf"
    if not file.exists():
        command = [sys.executable, source / "convert_hf_to_gguf.py", folder / "model"]
        done = subprocess.run(
            [*command, "--outfile", file, "--outtype", kind], capture_output=True, text=True
        )
        if done.returncode:
            file.unlink(missing_ok=True)
            raise ConversionError(done.stderr.strip().splitlines()[-1])
    return file


class ConversionError(Exception):
    """The converter did not take a folder."""


def read(source: Path, folder: Path, case: dict[str, Any], kind: str) -> dict[str, Any]:
    """Logits, losses and greedy texts of one case, or what llama.cpp says instead."""
    try:
        file = gguf(source, folder, kind)
    except ConversionError as error:
        return {"refused": f"converter: {error}"}
    with np.load(case["answers"]) as found:
        answers = dict(found)
    result: dict[str, Any] = {}
    for name, cache in (("", GGML_F16), (", fp32 cache", GGML_F32)):
        try:
            model = loaded(file, cache)
        except ValueError as error:
            return {"refused": f"runtime: {error}".replace(str(file), file.name)}
        pairs = [(ours, logits(model, ids)) for ids, ours in numbered(answers, "text", "logits")]
        theirs = np.stack([comparing.losses(logits(model, row), row) for row in answers["windows"]])
        result[f"logits{name}"] = comparing.logit_difference(pairs)
        result[f"loss{name}"] = comparing.loss_difference(answers["losses"], theirs)
    eos = model.token_eos()
    said = [
        (ours.tolist(), spoken(model, ids, eos))
        for ids, ours in numbered(answers, "prompt", "said")
    ]
    return {**result, "greedy": comparing.text_difference(said)}


def loaded(file: Path, cache: int) -> Any:
    """A model whose keys and values are kept in the type ``cache``; llama.cpp's default is fp16."""
    return llama_cpp.Llama(
        str(file),
        n_ctx=CONTEXT,
        n_batch=CONTEXT,
        n_threads=1,
        n_threads_batch=1,
        logits_all=True,
        type_k=cache,
        type_v=cache,
        verbose=False,
    )


def logits(model: Any, ids: np.ndarray) -> np.ndarray:
    """Scores (T, V) of a text by itself."""
    model.reset()
    model.eval(ids.tolist())
    scores: np.ndarray = model.scores[: len(ids)].copy()
    return scores


def spoken(model: Any, prompt: np.ndarray, eos: int) -> list[int]:
    """The likeliest continuation, up to EOS."""
    model.reset()
    model.eval(prompt.tolist())
    said: list[int] = []
    while len(said) < SAID:
        token = int(model.scores[model.n_tokens - 1].argmax())
        if token == eos:
            break
        said.append(token)
        model.eval([token])
    return said


def numbered(
    answers: dict[str, np.ndarray], first: str, second: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of arrays ``first_0, second_0``, ``first_1, second_1`` …"""
    number = 0
    while f"{first}_{number}" in answers:
        yield answers[f"{first}_{number}"], answers[f"{second}_{number}"]
        number += 1


def read_texts(
    file: Path, questions: Path, overrides: dict[str, bool] | None = None
) -> dict[str, Any]:
    """Ids of lines, and conversations through the chat template of the file."""
    model = llama_cpp.Llama(str(file), vocab_only=True, verbose=False, kv_overrides=overrides)
    lines, chats = records(questions / "lines.jsonl"), records(questions / "chats.jsonl")
    formatter = Jinja2ChatFormatter(
        template=model.metadata["tokenizer.chat_template"], bos_token="<s>", eos_token="</s>"
    )
    prompts = [(formatter(messages=row["messages"][:-1]).prompt, row["prompt"]) for row in chats]
    return {
        "class": model.metadata["tokenizer.ggml.model"],
        "lines": ids_of(model, [(row["text"], row["ids"]) for row in lines], False),
        "spelling": ids_of(
            model,
            [(row["text"], row["ids"]) for row in records(questions / "spelling.jsonl")],
            False,
        ),
        "without_bos": sum(
            model.tokenize(row["text"].encode(), add_bos=True, special=False)[:1]
            != [model.token_bos()]
            for row in lines
        ),
        "chats": {"up_to_the_answer": ids_of(model, prompts, True)},
    }


def ids_of(model: Any, rows: Sequence[tuple[str, list[int]]], special: bool) -> dict[str, Any]:
    """``special``: whether a control piece that a text spells becomes that piece."""
    return comparing.id_difference(
        (text, ids, model.tokenize(text.encode(), add_bos=False, special=special))
        for text, ids in rows
    )


def records(file: Path) -> list[dict[str, Any]]:
    with open(file, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


if __name__ == "__main__":
    main()
