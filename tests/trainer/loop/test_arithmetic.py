"""The bits of three steps, held against those that the version of the arithmetic stands for.

python -m tests.trainer.loop.test_arithmetic     adds those of this machine to arithmetic.json
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from artifacts.paths import Store
from tests.trainer.loop_corpus import Corpus, make_corpus
from tests.trainer.loop_runs import run
from trainer.loop.arithmetic import ARITHMETIC
from trainer.loop.metrics import TRAIN, read_series
from trainer.loop.provenance import processor

RECORD = Path(__file__).with_name("arithmetic.json")
STEPS = 3


def environment() -> str:
    """What decides bits besides the code."""
    return f"torch {torch.__version__}, {processor()}, {torch.backends.cpu.get_cpu_capability()}"


def bits(corpus: Corpus, folder: Path) -> dict[str, Any]:
    outcome = run(corpus, folder, until_step=STEPS)
    files = outcome.checkpoint.state.files
    return {
        "losses": [line["loss"] for line in read_series(Store(folder), TRAIN)],
        "weights": files["weights.safetensors"].checksum,
        "moments": files["moments.safetensors"].checksum,
    }


def test_the_bits_of_three_steps_are_those_of_the_version(corpus: Corpus, tmp_path: Path) -> None:
    found, recorded = bits(corpus, tmp_path / "run"), json.loads(RECORD.read_text())
    advice = (
        "a training step computes something else: raise ARITHMETIC in trainer/loop/arithmetic.py, "
        "and run python -m tests.trainer.loop.test_arithmetic"
    )
    assert recorded["version"] == ARITHMETIC, advice
    known = recorded["environments"].get(environment())
    if known is not None:
        assert found == known, advice
    for other in recorded["environments"].values():
        assert found["losses"] == pytest.approx(other["losses"], rel=1e-5), advice


def record() -> None:
    """Write the bits of this machine; those of other versions of the arithmetic go."""
    before = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    same = before.get("version") == ARITHMETIC
    with tempfile.TemporaryDirectory() as folder:
        found = bits(make_corpus(Path(folder)), Path(folder) / "run")
    environments = {**(before["environments"] if same else {}), environment(): found}
    facts = {"version": ARITHMETIC, "environments": environments}
    RECORD.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    record()
