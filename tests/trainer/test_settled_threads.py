"""How many threads a training takes when nobody says."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from trainer.devices.determinism import deterministic, physical_cores, settled_threads


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)


def test_a_wrong_count_of_torch_does_not_matter() -> None:
    torch.set_num_threads(physical_cores() + 3)
    with settled_threads() as settled, deterministic() as threads:
        assert settled == threads == torch.get_num_threads() == physical_cores()
    assert torch.get_num_threads() == physical_cores() + 3


def test_a_number_in_the_settings_comes_before_it() -> None:
    with settled_threads(), deterministic(physical_cores() + 1) as threads:
        assert threads == physical_cores() + 1


@pytest.mark.parametrize("said", ["1", " 1", "1,2"])
@pytest.mark.parametrize("variable", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_a_number_in_the_environment_lowers_it(
    variable: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, said)
    with settled_threads() as threads:
        assert threads == 1


@pytest.mark.parametrize("said", ["", "0", "-1", "many", "10000"])
def test_a_number_that_is_none_or_too_high_changes_nothing(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    with settled_threads() as threads:
        assert threads == physical_cores()


def test_cores_are_at_most_the_processors() -> None:
    assert 1 <= physical_cores() <= len(os.sched_getaffinity(0))


def test_processors_of_one_core_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 4, 5})
    monkeypatch.setattr(
        "trainer.devices.determinism._sharing_a_core",
        lambda number: f"{number % 4},{number % 4 + 4}",
    )
    assert physical_cores() == 2


@pytest.mark.parametrize("unusable", ["0", "abc", "-1", " ", ""])
def test_a_number_that_mkl_cannot_use_does_not_hide_the_other(
    unusable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MKL_NUM_THREADS", unusable)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with settled_threads() as threads:
        assert threads == 1
