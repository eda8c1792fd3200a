"""Sums of checkpoints' weights, tensor by tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from artifacts.paths import Store
from trainer.checkpoints.checkpoint import Checkpoint, at_step, save
from trainer.checkpoints.merging import merged
from trainer.checkpoints.state import CheckpointState
from trainer.optimizer.merge_coefficients import merge_coefficients
from trainer.optimizer.schedules import DecaySpec


def written(folder: Path, step: int, **weights: torch.Tensor) -> Checkpoint:
    facts = {"history": (), "schedule": {}, "model": {}, "settings": {}, "seeds": {}}
    state = CheckpointState.model_validate(
        {"step": step, "tokens": 0, "plan_hash": "", "tokenizer_hash": "", **facts}
    )
    return save(Store(folder), state, weights, {}, {})


@given(values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
@hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_merge_of_one_checkpoint_with_itself_has_its_bits(
    values: list[float], tmp_path: Path
) -> None:
    weights = torch.tensor(values, dtype=torch.float32)
    one = written(tmp_path, 1, w=weights)
    for shape in ("linear", "one_minus_sqrt", "exponential"):
        by = merge_coefficients(DecaySpec(shape=shape), range(7))  # type: ignore[arg-type]
        found = merged([one] * 7, by)["w"]
        assert torch.equal(found, weights)


def test_the_uniform_merge_is_the_mean_to_a_rounding(whole: Path) -> None:
    line = [at_step(Store(whole), step) for step in (5, 8, 10, 12)]
    found = merged(line, [0.25] * 4)
    for name, value in found.items():
        each = np.stack([checkpoint.weights()[name].double().numpy() for checkpoint in line])
        mean = each.mean(0)
        ulp = np.spacing(np.abs(mean).astype(np.float32)).astype(np.float64)
        assert (np.abs(value.double().numpy() - mean) <= ulp).all(), name
        assert value.dtype == torch.float32


def test_the_merge_with_one_coefficient_is_that_checkpoint(whole: Path) -> None:
    line = [at_step(Store(whole), step) for step in (5, 8)]
    found = merged(line, [0.0, 1.0])
    for name, value in line[1].weights().items():
        assert torch.equal(found[name], value)


def test_tensors_of_other_names_shapes_or_types_are_refused(tmp_path: Path) -> None:
    plain = torch.zeros((2, 3))
    one = written(tmp_path / "a", 1, w=plain)
    others = {
        "name": written(tmp_path / "b", 1, v=plain),
        "shape": written(tmp_path / "c", 1, w=torch.zeros((3, 2))),
        "type": written(tmp_path / "d", 1, w=plain.double()),
    }
    for other in others.values():
        with pytest.raises(UserError, match="another model") as refused:
            merged([one, other], [0.5, 0.5])
        assert str(refused.value.file) == other.folder


def test_a_sum_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    one = written(tmp_path / "a", 1, w=torch.ones(2))
    broken = written(tmp_path / "b", 2, w=torch.tensor([1.0, float("nan")]))
    with pytest.raises(UserError, match="not finite"):
        merged([one, broken], [0.5, 0.5])


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    one = written(tmp_path, 1, w=torch.ones(2))
    path = Path(one.folder) / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="damaged"):
        merged([one, one], [0.5, 0.5])
