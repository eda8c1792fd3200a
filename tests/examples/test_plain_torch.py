"""The plain PyTorch example in real processes: stopped on four ranks and resumed on one, it
consumes what an undisturbed run consumes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from mixtures.freeze.freeze import Plan, freeze
from mixtures.spec.spec import MixtureSpec
from tests.mixtures.conftest import Shards, write_shards

pytestmark = [pytest.mark.kill, pytest.mark.slow]

STEPS = 12


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, list[str]]:
    """A plan of a dozen steps, longer windows in the second half, and the example's arguments for
    it.
    """
    root = tmp_path_factory.mktemp("plain")
    draw = np.random.default_rng(7)
    texts = {
        name: [draw.integers(3, 500, int(draw.integers(5, 60))).tolist() for _ in range(120)]
        for name in ("web", "code")
    }
    shards = Shards(
        {
            name: write_shards(root / name, name, documents, None, 900, "a")
            for name, documents in texts.items()
        }
    )
    phases = [
        {"name": "first", "tokens": 6 * 96, "weights": {"web": 0.7, "code": 0.3}},
        {
            "name": "second",
            "tokens": 6 * 160,
            "weights": {"web": 0.4, "code": 0.6},
            "sequence_length": 32,
            "batch_tokens": 160,
        },
    ]
    plan = freeze(
        MixtureSpec.model_validate({"phases": phases}),
        shards.sources,
        sequence_length=16,
        batch_tokens=96,
        seed=3,
    )
    (root / "plan.json").write_bytes(plan.to_json())
    named = [f"{name}={folder}" for name, folder in shards.folders.items()]
    return plan, ["--plan", str(root / "plan.json"), "--shards", *named]


def start(
    root: Path, ranks: int, arguments: list[str], out: Path, *more: str
) -> subprocess.Popen[str]:
    launcher = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
        if ranks > 1
        else []
    )
    command = [
        sys.executable,
        *launcher,
        "examples/plain_torch/train.py",
        *arguments,
        "--out",
        str(out),
        *more,
    ]
    environment: dict[str, Any] = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    return subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors


def saved(out: Path) -> dict[str, str]:
    with safe_open(str(out / "checkpoint.safetensors"), "pt") as file:
        return dict(file.metadata())


@pytest.fixture(scope="module")
def undisturbed(
    root: Path, frozen: tuple[Plan, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    out = tmp_path_factory.mktemp("undisturbed")
    finish(start(root, 1, frozen[1], out))
    assert saved(out) == {"step": str(STEPS), "plan": frozen[0].hash}
    lines = (out / "tokens.log").read_text().splitlines()
    assert [line.split()[0] for line in lines] == [str(step) for step in range(1, STEPS + 1)]
    assert len({line.split()[1] for line in lines}) == STEPS
    return lines


def test_four_ranks_stopped_at_a_step_and_one_that_goes_on_consume_what_one_rank_does(
    root: Path, frozen: tuple[Plan, list[str]], undisturbed: list[str], tmp_path: Path
) -> None:
    finish(start(root, 4, frozen[1], tmp_path, "--until-step", "5"))
    assert saved(tmp_path)["step"] == "5"
    assert (tmp_path / "tokens.log").read_text().splitlines() == undisturbed[:5]
    finish(start(root, 1, frozen[1], tmp_path))
    assert (tmp_path / "tokens.log").read_text().splitlines() == undisturbed


def test_four_ranks_that_are_told_to_stop_finish_their_step_together_and_one_goes_on(
    root: Path, frozen: tuple[Plan, list[str]], undisturbed: list[str], tmp_path: Path
) -> None:
    process = start(root, 4, frozen[1], tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step 2 "):
            process.send_signal(signal.SIGTERM)
            break
    process.communicate(timeout=240)  # the launcher itself ends with the signal
    step = int(saved(tmp_path)["step"])
    assert 2 <= step <= STEPS
    assert (tmp_path / "tokens.log").read_text().splitlines() == undisturbed[:step]
    finish(start(root, 1, frozen[1], tmp_path))
    assert (tmp_path / "tokens.log").read_text().splitlines() == undisturbed
