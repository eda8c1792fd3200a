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

Writes ``benchmarks/results/export_readers.json``. Exit code 1 where a reader differs by more than
:data:`LOGITS` (transformers, fp32) or :data:`NATS` (loss) in a case that is promised.
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

from benchmarks.peers.readers import cases, comparing, environments, questions
from pipelines.readers.texts import text_files, texts_of
from tokenizer.encode import Tokenizer
from tokenizer.train import TrainConfig, train_model
from trainer.checkpoints.checkpoint import TOKENIZER, Checkpoint, load
from trainer.checkpoints.recorded import model_config, trained_window
from trainer.checkpoints.weights import model_of
from trainer.shapes.parameter_counts import count_parameters

LOGITS, NATS = 1e-4, 1e-3
WINDOW, SAMPLE_BYTES, VOCABULARY = 256, 8 << 20, 4096
LLAMA = "llama.cpp"
GGUF = "llama"  # what llama.cpp calls tokenizers of SentencePiece
TRANSFORMERS = {"transformers 5": "transformers-5", "transformers 4": "transformers-4"}
READERS = (*TRANSFORMERS, LLAMA)
NOT_PROMISED = {
    (LLAMA, "dynamic"): "llama.cpp has no dynamic NTK",
    (LLAMA, "wide heads, granite"): "llama.cpp's Granite has heads that fill the width",
    (LLAMA, "ids, minicpm"): "llama.cpp's converter does not say that no space goes before a text",
}
"""What is measured and not promised: a reader, how names of cases begin, and why."""


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
        "not_promised": _not_promised(found),
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


def failures(readers: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Everything that is promised and is not so."""
    for reader, found in readers.items():
        for name, case in found["cases"].items():
            for kind, run in (case if reader == LLAMA else {"": case}).items():
                if reason(reader, name) is None:
                    place = f"{reader}: {name}{kind and f' as {kind}'}"
                    yield from (f"{place}: {said}" for said in wrong(run, name, reader))
        for layout, texts in found["texts"].items():
            if reason(reader, f"ids, {layout}") is None:
                yield from (f"{reader}: {layout}: {said}" for said in wrong_texts(texts))


def reason(reader: str, name: str) -> str | None:
    """Why a case is not promised."""
    for (whose, begin), said in NOT_PROMISED.items():
        if whose == reader and f"{name},".startswith(f"{begin},"):
            return said
    return None


def wrong(run: Mapping[str, Any], name: str, reader: str) -> Iterator[str]:
    """What of one case's answers is out of its limit."""
    if "refused" in run:
        yield run["refused"]
        return
    if not abs(run["loss"]["difference"]) <= NATS:
        yield f"loss {run['loss']['difference']:+.3g} nats"
    if reader == LLAMA or not name.endswith("fp32"):
        return
    for what in ("logits", "packed"):
        if not run[what]["largest_difference"] <= LOGITS * max(1.0, run[what]["largest_logit"]):
            yield f"{what} {run[what]['largest_difference']:.3g}"
    if run["greedy"]["different"]:
        yield f"{run['greedy']['different']} greedy texts"


def wrong_texts(texts: Mapping[str, Any]) -> Iterator[str]:
    """What of a tokenizer's answers is not ours, but for what llama.cpp loses of U+2581."""
    counted = {"lines": texts["lines"], "spelling": texts["spelling"]}
    chats = {name: part for name, part in texts["chats"].items() if isinstance(part, dict)}
    for what, found in {**counted, **chats}.items():
        lost = found["holding"].get(comparing.MARK, 0) if texts["class"] == GGUF else 0
        if found["different"] > lost:
            yield f"{found['different'] - lost} of {found['texts']} {what} have other ids"
    for what in ("not_restored", "without_bos"):
        if texts.get(what):
            yield f"{texts[what]} lines {what.replace('_', ' ')}"
    if texts["chats"].get("other_targets"):
        yield f"{texts['chats']['other_targets']} conversations with other targets"


def _not_promised(readers: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {
        f"{reader}: {name}": said
        for reader, found in readers.items()
        for name in (*found["cases"], *(f"ids, {layout}" for layout in found["texts"]))
        if (said := reason(reader, name)) is not None
    }


if __name__ == "__main__":
    sys.exit(main())
