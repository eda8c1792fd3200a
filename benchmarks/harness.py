"""lm-evaluation-harness on a checkpoint by our class, and on its export by the harness's own.

    windtunnel run recipes/quickstart.yaml
    PYTHONPATH=. python benchmarks/harness.py --checkpoint runs/quickstart/checkpoints/step-…
        [--items 200] [--tokens 32] [--pairs 5] [--window 512] [--batch 16] [--core N]

The checkpoint is exported to Granite; transformers reads the folder through the harness's class for
Hugging Face models, BOS before what is read, both in fp32 on one thread. Questions lie in
``examples/benchmarks``: MMLU-Redux by likelihood (no solved questions, as there is no dev file),
GSM8K with eight and BIG-Bench Hard without solved questions, in the harness's forms ``gsm8k_cot``
and ``bbh_zeroshot``, greedy, ``--tokens`` new ones at most.

Compared is every question: the option chosen, or the text written. Where two options, or two
tokens, differ by under 1e-4 nats, roundings may choose. Then seconds, by the wall, in the class's
own calls (tokenizing included) and in all, in pairs that take turns to begin; medians of the ratios
within pairs. The harness's class gets ``--batch`` rows at once; ours chooses. At last the
log-likelihood of whole texts, which the harness's class reads with one BOS where ``add_bos_token``
is off, and with two where it is on.

Writes ``benchmarks/results/harness.json``. Exit code 1 where a choice differs without a tie.
"""

from __future__ import annotations

import one_core  # isort: skip  (sets the thread pools)

import argparse
import ast
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported

import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from trainer.checkpoints.checkpoint import Checkpoint, load
from trainer.checkpoints.recorded import model_config
from trainer.evaluation.generate import speaker
from trainer.evaluation.harness.known import forms_of
from trainer.evaluation.harness.model import HarnessModel
from trainer.evaluation.harness.quiet import alone
from trainer.evaluation.harness.run import samples_of
from trainer.evaluation.harness.task_files import Asked
from trainer.evaluation.tasks.likelihoods import Request, log_likelihoods
from trainer.export.export import ExportSettings, export_model
from trainer.shapes.parameter_counts import count_parameters

FOLDER = one_core.ROOT / "examples" / "benchmarks"
BENCHMARKS = {
    "mmlu_redux": "mmlu-redux.jsonl",
    "gsm8k_cot": "gsm8k-test.jsonl",
    "bbh_zeroshot": "bbh.jsonl",
}
TIE = 1e-4  # nats
SIDES = ("ours", "theirs")


class Theirs(HFLM):
    """The harness's class; a task that does not say gets so many new tokens."""

    max_gen_toks = 256


class Clocked:
    """A class of the harness's kind, and the seconds of its calls."""

    def __init__(self, model: Any) -> None:
        self.seconds = 0.0
        for name in ("loglikelihood", "generate_until"):
            setattr(model, name, self._clocked(getattr(model, name)))
        self.model = model

    def _clocked(self, call: Any) -> Any:
        def clocked(requests: Any, **options: Any) -> Any:
            begin = time.perf_counter()
            try:
                return call(requests, **options)
            finally:
                self.seconds += time.perf_counter() - begin

        return clocked


def main() -> int:
    options = parse()
    core = one_core.pin(options.core)
    torch.set_num_threads(1)
    checkpoint = load(options.checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        export_model(checkpoint, Path(folder) / "granite", ExportSettings(layout="granite"))
        with alone():
            sides = sides_of(checkpoint, Path(folder) / "granite", options)
            found = {
                name: benchmark(name, sides, options.items, options.pairs) for name in BENCHMARKS
            }
            rolling = whole_texts(sides, options.items)
    config = model_config(checkpoint)
    result = {
        "machine": one_core.machine(("lm_eval", "transformers", "torch", "numpy"), core),
        "model": {"step": checkpoint.state.step, "parameters": count_parameters(config).total},
        "window": options.window,
        "new_tokens": options.tokens,
        "rows_at_once": options.batch,
        "pairs": options.pairs,
        "benchmarks": found,
        "whole_texts": rolling,
    }
    one_core.publish("harness", result)
    return int(any(one["different"] > one["ties"] for one in found.values()))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--core", type=int, default=None)
    return parser.parse_args()


def sides_of(
    checkpoint: Checkpoint, folder: Path, options: argparse.Namespace
) -> dict[str, Clocked]:
    ours = HarnessModel(*speaker(checkpoint, "cpu"), options.window)
    theirs = Theirs(
        pretrained=str(folder),
        dtype="float32",
        device="cpu",
        batch_size=options.batch,
        add_bos_token=True,
        max_length=options.window,
    )
    ours.max_gen_toks = theirs.max_gen_toks = options.tokens
    return dict(zip(SIDES, map(Clocked, (ours, theirs)), strict=True))


def benchmark(name: str, sides: Mapping[str, Clocked], items: int, pairs: int) -> dict[str, Any]:
    """A benchmark on both sides, question by question, and how long it takes."""
    asked = Asked(name, list(questions(name, items)))
    form = forms_of(name)[0]
    seconds: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
    samples: dict[str, list[Any]] = {}
    for pair in range(pairs + 1):  # the first one warms up
        for side in SIDES if pair % 2 else SIDES[::-1]:
            sides[side].seconds, begin = 0.0, time.perf_counter()
            logged = samples_of(sides[side].model, asked, form)
            whole = time.perf_counter() - begin
            if pair:
                seconds[side].append((sides[side].seconds, whole))
            samples[side] = [one for task in sorted(logged) for one in logged[task]]
    return {**compared(sides["ours"].model, samples), **timed(seconds)}


def questions(name: str, items: int) -> Iterator[dict[str, Any]]:
    """Records of a benchmark with the fields that the harness reads."""
    for line in (FOLDER / BENCHMARKS[name]).read_text(encoding="utf-8").splitlines()[:items]:
        record = json.loads(line)
        meta = record["meta"]
        if name == "mmlu_redux":
            choices, answer = ast.literal_eval(meta["choices"]), int(meta["groundtruth_answer"])
            yield {"question": meta["question"], "choices": choices, "answer": answer}
        elif name == "gsm8k_cot":
            yield {"question": meta["question"], "answer": meta["answer"]}
        else:
            task = record["benchmark"].split("/")[1]
            yield {"input": record["text"], "target": record["answer"], "task": task}


def compared(model: HarnessModel, samples: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """How many questions end alike, how many differ, and of these how many by a tie."""
    by_filter = [{(one["doc_hash"], one["filter"]): one for one in samples[side]} for side in SIDES]
    firsts: dict[str, tuple[Any, Any]] = {}
    scores_alike = 0
    for (key, kept), ours in by_filter[0].items():
        theirs = by_filter[1][key, kept]
        firsts.setdefault(key, (ours, theirs))
        scores_alike += all(ours[metric] == theirs[metric] for metric in ours["metrics"])
    chosen = len(next(iter(firsts.values()))[0]["arguments"]) > 1
    judge = _options if chosen else _texts
    judged = [judge(model, ours, theirs) for ours, theirs in firsts.values()]
    return {
        "questions": len(judged),
        "different": sum(not alike for alike, _, _ in judged),
        "ties": sum(not alike and gap < TIE for alike, gap, _ in judged),
        "largest_difference": max(far for _, _, far in judged),
        "scores_alike": scores_alike,
        "scores": len(by_filter[0]),
    }


def _options(model: HarnessModel, ours: Any, theirs: Any) -> tuple[bool, float, float]:
    """Whether both choose the same, how far theirs has the two best apart, and the largest
    difference of a log-likelihood.
    """
    nats = [np.array([nats for nats, _ in one["filtered_resps"]]) for one in (ours, theirs)]
    best = np.sort(nats[1])[-2:]
    alike = int(nats[0].argmax()) == int(nats[1].argmax())
    return alike, float(best[1] - best[0]), float(np.abs(nats[0] - nats[1]).max())


def _texts(model: HarnessModel, ours: Any, theirs: Any) -> tuple[bool, float, float]:
    """Whether both write the same; if not, how far apart our model has the two tokens with which
    the texts part.
    """
    texts = [one["resps"][0][0] for one in (ours, theirs)]
    if texts[0] == texts[1]:
        return True, 0.0, 0.0
    context = model.tok_encode(ours["arguments"][0][0])
    context = context[-(model.max_length - model.max_gen_toks) :]
    rows = [[*model.tok_encode(text, False), model.eot_token_id] for text in texts]
    same = next(n for n, (one, other) in enumerate(zip(*rows, strict=False)) if one != other)
    before = tuple(context + rows[0][:same])
    asked = [Request(before, (row[same],)) for row in rows]
    first, second = log_likelihoods(model.model, asked)
    return False, float(abs(first - second)), 0.0


def timed(seconds: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, Any]:
    """Medians with their spread, and of theirs over ours within pairs."""
    found: dict[str, Any] = {}
    for number, name in enumerate(("calls", "all")):
        each = {side: [one[number] for one in seconds[side]] for side in SIDES}
        ratios = [theirs / ours for ours, theirs in zip(*each.values(), strict=True)]
        found[f"seconds_{name}"] = {side: one_core.spread(each[side]) for side in SIDES}
        found[f"theirs_over_ours_{name}"] = one_core.spread(ratios)
    return found


def whole_texts(sides: Mapping[str, Clocked], items: int) -> dict[str, Any]:
    """The likelihood of whole solutions, by our class and by theirs with one BOS and two."""
    texts = [record["answer"] for record in questions("gsm8k_cot", items)]
    asked = [
        Instance(request_type="loglikelihood_rolling", doc={}, arguments=(text,), idx=number)
        for number, text in enumerate(texts)
    ]
    ours, theirs = (sides[side].model for side in SIDES)
    own = np.array(ours.loglikelihood_rolling(asked))
    by_bos = {}
    for twice in (False, True):
        theirs.add_bos_token = twice
        by_bos[twice] = np.array(theirs.loglikelihood_rolling(asked, disable_tqdm=True))
    size = np.log(2) * sum(len(text.encode()) for text in texts)
    return {
        "texts": len(texts),
        "largest_relative_difference": float(np.abs(own / by_bos[False] - 1).max()),
        "bits_per_byte": {
            "ours": float(-own.sum() / size),
            "theirs, one BOS": float(-by_bos[False].sum() / size),
            "theirs, two BOS": float(-by_bos[True].sum() / size),
        },
    }


if __name__ == "__main__":
    raise SystemExit(main())
