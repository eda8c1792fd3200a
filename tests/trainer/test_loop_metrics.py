"""Metrics: each step once, whatever was cut off, and the same bytes as without interruption."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from artifacts.paths import Store
from trainer.loop.metrics import TRAIN, Metrics, encode_line, flat, read_series


def line(step: int) -> dict[str, object]:
    return {"step": step, "loss": 1 / step, "sources": {"web": {"loss": 2 / step}}}


def run(store: Store, first: int, last: int) -> None:
    with Metrics(store, first - 1) as metrics:
        for step in range(first, last + 1):
            metrics.record(TRAIN, line(step))


@given(
    st.lists(
        st.tuples(
            st.integers(0, 9),
            st.integers(0, 6),
            st.binary(max_size=20).filter(lambda raw: b"\n" not in raw),
        ),
        max_size=4,
    )
)
def test_a_run_resumed_anywhere_has_each_step_once(
    tmp_path_factory: pytest.TempPathFactory, stops: list[tuple[int, int, bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("metrics")
    whole, broken = Store(folder / "whole"), Store(folder / "broken")
    run(whole, 1, 12)
    done = 0
    for ahead, lost, torn in stops:
        last = min(done + ahead, 12)
        run(broken, done + 1, last)
        done = max(last - lost, 0)  # the checkpoint lies some steps before the kill
        with (
            Path(broken.full("metrics/train.jsonl")).open("ab")
            if broken.exists("metrics/train.jsonl")
            else (folder / "x").open("wb") as file
        ):
            file.write(torn)
    run(broken, done + 1, 12)
    assert [entry["step"] for entry in read_series(broken)] == list(range(1, 13))
    assert broken.read("metrics/train.jsonl") == whole.read("metrics/train.jsonl")


def test_an_object_store_holds_the_same_lines() -> None:
    store = Store("memory://loop-metrics/run")
    run(store, 1, 5)
    run(store, 4, 8)
    assert [entry["step"] for entry in read_series(store)] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_numbers_keep_every_bit_and_what_is_no_number_becomes_null(tmp_path: Path) -> None:
    with Metrics(Store(tmp_path), 0) as metrics:
        metrics.record(
            TRAIN, {"step": 1, "loss": 0.1 + 0.2, "sources": {"web": {"loss": float("nan")}}}
        )
    found = read_series(tmp_path)[0]
    assert found["loss"] == 0.1 + 0.2
    assert found["sources"]["web"]["loss"] is None


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    run(Store(tmp_path), 1, 3)
    path = tmp_path / "metrics" / "train.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"step":2', b'"stop":2'))
    with pytest.raises(UserError, match="damaged") as error:
        Metrics(Store(tmp_path), 3)
    assert error.value.file == str(path)


def test_every_number_of_a_line_gets_a_name() -> None:
    assert flat(line(2)) == [("loss", 0.5), ("sources/web/loss", 1.0)]
    assert encode_line({"step": 1}) == b'{"step":1}\n'
