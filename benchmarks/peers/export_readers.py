"""Do other programs read our exports as the models that they are: transformers and llama.cpp.

    PYTHONPATH=. python benchmarks/peers/export_readers.py --checkpoint FOLDER --texts PATH...
    PYTHONPATH=. python benchmarks/peers/export_readers.py --preset tiny --texts PATH...

A checkpoint's folder, or a preset with drawn weights and a tokenizer trained on ``--texts``, is
exported to every layout; its weights also with scaled positions, and a drawn model of another shape
(``readers/cases.py``). Each reader is then asked, on one thread, for logits, the loss of real text,
packed documents, greedy texts, ids of lines and hard strings, and rendered conversations. Ours are
computed here.

Readers lie in environments of their own below ``--work``: transformers 5 and 4 (1.5 GB each), and
llama.cpp from the source of llama-cpp-python, which is downloaded and built without the
instructions of this machine's processor (a C++ compiler is needed; some minutes). vLLM needs CUDA
and is not run. ``--only`` names readers.

Writes ``benchmarks/results/export_readers.json``. Exit code 1 where a reader is further from ours
than ``readers/judging.py`` allows in what is promised.
"""

from __future__ import annotations

from benchmarks import one_core  # isort: skip  (sets the thread pools)

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks.peers.readers import cases, environments, questions
from benchmarks.peers.readers.judging import LLAMA, failures, not_promised
from pipelines.readers.texts import text_files, texts_of
from tokenizer.encode import Tokenizer
from tokenizer.train import TrainConfig, train_model
from trainer.checkpoints.checkpoint import TOKENIZER, Checkpoint, load
from trainer.checkpoints.recorded import model_config, trained_window
from trainer.checkpoints.weights import model_of
from trainer.shapes.parameter_counts import count_parameters

WINDOW, SAMPLE_BYTES, VOCABULARY = 256, 8 << 20, 4096
TRANSFORMERS = {"transformers 5": "transformers-5", "transformers 4": "transformers-4"}
READERS = (*TRANSFORMERS, LLAMA)


def main() -> int:
    options = _options()
    torch.set_num_threads(1)
    draw = random.Random(options.seed)
    texts = _texts(options.texts)
    work = options.work / "export-readers"
    shutil.rmtree(work, ignore_errors=True)
    base = _base(options, texts, work / "drawn", draw)
    tokenizer = Tokenizer.load(base.read(TOKENIZER))
    window = min(WINDOW, trained_window(base))
    asked = questions.ask(tokenizer, texts, window, options.tokens, draw)
    (work / "questions").mkdir(parents=True)
    counts = questions.write_texts(work / "questions", tokenizer, texts, options.lines, draw)
    models = cases.variants(base, work / "models", window)
    refused = _export(models, asked, tokenizer.eos_id, work)
    found = {name: _read(name, options, work) for name in options.only}
    result = {
        "machine": one_core.machine(("torch", "numpy", "tokenizers", "sentencepiece")),
        "model": _described(base, options),
        "window": window,
        "texts": counts,
        "refused_by_export": refused,
        "llama_cpp_build": list(environments.BUILD),
        "readers": found,
        "not_run": {"vLLM": "needs CUDA"},
        "not_promised": not_promised(found),
    }
    failed = list(failures(found))
    one_core.publish("export_readers", {**result, "failures": failed})
    return int(bool(failed))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--checkpoint", help="a checkpoint's folder")
    model.add_argument("--preset", help="a shape by name, with drawn weights")
    parser.add_argument("--texts", nargs="+", required=True)
    parser.add_argument("--tokens", type=int, default=16_384, help="whose loss is taken")
    parser.add_argument("--lines", type=int, default=4000)
    parser.add_argument("--only", nargs="+", choices=READERS, default=READERS)
    parser.add_argument("--work", type=Path, default=one_core.WORK)
    parser.add_argument("--jobs", type=int, default=1, help="processes that build llama.cpp")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def _texts(paths: Sequence[str]) -> list[str]:
    return [
        text
        for file in text_files(paths)
        for batch in texts_of(file)
        for text in batch.texts.to_pylist()
    ]


def _base(
    options: argparse.Namespace, texts: Sequence[str], folder: Path, draw: random.Random
) -> Checkpoint:
    if options.checkpoint is not None:
        return load(options.checkpoint)
    sample, size = [], 0
    for text in draw.sample(texts, len(texts)):
        cut = text[: 1 << 16]
        if size < SAMPLE_BYTES:
            sample.append(cut)
            size += len(cut.encode())
    model, _ = train_model(
        [pa.array(sample, pa.large_string())], TrainConfig(vocab_size=VOCABULARY)
    )
    return cases.drawn(Tokenizer.load(model), options.preset, folder, WINDOW)


def _described(base: Checkpoint, options: argparse.Namespace) -> dict[str, Any]:
    config = model_config(base)
    return {
        "weights": "trained" if options.checkpoint is not None else "drawn",
        "step": base.state.step,
        "parameters": count_parameters(config).total,
        "shape": config.recorded(),
    }


def _export(
    models: Mapping[str, Checkpoint], asked: questions.Questions, eos: int, work: Path
) -> dict[str, str]:
    """Write every case's folder and every model's answers; returns the cases that were refused."""
    for name, checkpoint in models.items():
        found = questions.answers(model_of(checkpoint), asked, eos)
        np.savez(work / "models" / f"{name}.npz", **found)  # type: ignore[arg-type]
    refused = {}
    for number, case in enumerate(cases.cases()):
        folder = work / "cases" / f"{number:02d}"
        folder.mkdir(parents=True)
        said = cases.exported(models[case.model], case, folder / "model")
        if said is not None:
            refused[case.name] = said
            shutil.rmtree(folder)
            continue
        facts = case.described((work / "models" / f"{case.model}.npz").resolve())
        (folder / "case.json").write_text(json.dumps(facts))
    return refused


def _read(reader: str, options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """What a reader answers to every case that is for it."""
    asked, folders = (work / "questions").resolve(), _folders(work, reader)
    here = environments.HERE
    if reader in TRANSFORMERS:
        python = environments.environment(options.work, TRANSFORMERS[reader])
        return _json_of([python, here / "in_transformers.py", asked, *folders], {})
    python = environments.environment(options.work, "llama-cpp")
    built = environments.llama_cpp(options.work, python, options.jobs)
    found = {"LLAMA_CPP_LIB_PATH": str(built.library), "PYTHONPATH": str(built.source)}
    found["LD_LIBRARY_PATH"] = str(built.library)
    return _json_of([python, here / "in_llama_cpp.py", built.converter, asked, *folders], found)


def _folders(work: Path, reader: str) -> Iterator[Path]:
    """Folders of the cases that a reader can take: transformers has no MiniCPM, and how it rounds
    to bf16 is not llama.cpp's matter.
    """
    for folder in sorted((work / "cases").resolve().iterdir()):
        case = json.loads((folder / "case.json").read_text())
        if reader == LLAMA and case["dtype"] != "fp32":
            continue
        if reader in TRANSFORMERS and case["layout"] == "minicpm":
            continue
        yield folder


def _json_of(command: Sequence[Any], variables: Mapping[str, str]) -> dict[str, Any]:
    """The last line of a process that does not see this project."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), env={**clean, **variables}, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise SystemExit(f"{command[1]} ended with code {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main())
