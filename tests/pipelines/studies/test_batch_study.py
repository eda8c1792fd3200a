"""A study of batches carried out: its runs, its endings at larger batches, its noise of gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.studies.experiment import load_experiment
from pipelines.studies.study import run_study

pytestmark = pytest.mark.slow

DESIGN = {
    "width": 32,
    "layers": 1,
    "batches": [128, 256, 512],
    "tokens": 4096,
    "look_every": 512,
    "warmup_tokens": 512,
    "least_warmup": 1,
    "seeds": [1, 2],
    "retuned": {"peaks": [0.005, 0.01, 0.02], "seeds": [1]},
    "branching": {
        "batch": 256,
        "at": [1024],
        "tokens": 1024,
        "factors": [2, 4],
        "seeds": [1, 2],
        "micro_batches": 2,
        "every": 1,
    },
}


def test_batches_are_compared_at_equal_tokens_and_go_on_at_larger_ones(
    written: Callable[..., Path],
) -> None:
    path = written("batch", DESIGN)
    outcome = run_study(load_experiment(path), str(path.parent / "runs"), workers=1)
    # 3 batches: 2 seeds at the fixed rate and 1 at two others; endings at 2 factors of 2 seeds
    assert len(outcome.made) == 3 * (2 + 2) + 4
    for one in outcome.points:
        course = one.outcome.course.tokens
        if one.point.at(arm="larger"):
            assert (one.outcome.own_tokens, course[-1]) == (1024, 2048)
            steps = 1024 // (256 * int(one["factor"]))
            assert one.outcome.steps == 1024 // 256 + steps
        else:
            assert course == tuple(range(512, 4097, 512))
    trunk = next(one for one in outcome.points if one.point.at(arm="fixed", batch=256, seed=1))
    noise = trunk.outcome.probes["noise_scale"]
    assert [line["step"] for line in noise] == list(range(1, 17))
    facts = outcome.findings.facts
    assert set(facts["arms"]) == {"fixed", "retuned"}
    assert [one["at"] for one in facts["critical_batch"]] == [1024]
    assert set(facts["critical_batch"][0]["excess"]["2"]) == {"1", "2"}
    rates = {
        line.settings["train"]["schedule"]["changes"][0]["factor"]
        for line in outcome.lines.values()
        if line.outcome.parent is not None
    }
    assert rates == {2**0.5, 2.0}
