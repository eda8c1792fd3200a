"""TensorBoard, read back by its own reader: every step once, hyperparameters, texts."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from artifacts.paths import Store
from trainer.loop.board import Board, BoardRun, hyperparameters
from trainer.loop.metrics import TRAIN, Metrics


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(folder).Scalars(tag)]


def hparams(folder: Path) -> tuple[dict[str, object], list[str]]:
    """The hyperparameters of a run, and the tags of the figures beside them."""
    content = read(folder).PluginTagToContent("hparams")
    start = HParamsPluginData.FromString(content["_hparams_/session_start_info"])
    experiment = HParamsPluginData.FromString(content["_hparams_/experiment"])
    values = {
        name: value.string_value or value.number_value
        for name, value in start.session_start_info.hparams.items()
    }
    return values, [info.name.tag for info in experiment.experiment.metric_infos]


def texts(folder: Path, tag: str) -> list[tuple[int, str]]:
    events = read(folder).Tensors(f"{tag}/text_summary")
    return [(event.step, event.tensor_proto.string_val[0].decode()) for event in events]


def train(folder: Path, first: int, last: int) -> None:
    """Steps of a training, as :mod:`trainer.loop.training` writes them."""
    board = Board(BoardRun(str(folder / "board"), {"ending": "main"}), first - 1)
    if board.empty:
        board.name({"seed": 1}, ["train/loss"])
    with Metrics(Store(folder), first - 1, board) as metrics:
        for step in range(first, last + 1):
            metrics.record(TRAIN, {"step": step, "loss": float(first)})


def test_a_resumed_run_shows_each_step_once(tmp_path: Path) -> None:
    train(tmp_path, 1, 6)
    train(tmp_path, 4, 8)
    assert scalars(tmp_path / "board", "train/loss") == [(step, 1.0) for step in (1, 2, 3)] + [
        (step, 4.0) for step in (4, 5, 6, 7, 8)
    ]
    assert hparams(tmp_path / "board") == ({"ending": "main", "seed": 1.0}, ["train/loss"])


def test_a_run_begun_again_hides_what_was_there(tmp_path: Path) -> None:
    """Killed before its first checkpoint, it goes on from step 0."""
    train(tmp_path, 1, 3)
    train(tmp_path, 1, 2)
    assert [step for step, _ in scalars(tmp_path / "board", "train/loss")] == [1, 2]


def test_files_of_one_second_are_read_in_the_order_they_were_written(tmp_path: Path) -> None:
    """Names hold a number that counts writers; after 9 comes 10, which sorts first."""
    for _ in range(3):
        Board(BoardRun(str(tmp_path)), 0).close()
    seconds = [name.split(".")[3] for name in sorted(path.name for path in tmp_path.iterdir())]
    assert len(set(seconds)) == 3, seconds


def test_a_board_that_is_gone_is_filled_from_the_series(tmp_path: Path) -> None:
    train(tmp_path, 1, 6)
    (tmp_path / "board").rename(tmp_path / "elsewhere")
    train(tmp_path, 4, 8)
    assert [step for step, _ in scalars(tmp_path / "board", "train/loss")] == list(range(1, 9))
    assert hparams(tmp_path / "board")[0]["seed"] == 1.0


def test_a_board_on_a_store_is_that_of_a_disk(tmp_path: Path) -> None:
    """Killed after its third step's checkpoint, and gone on with; nothing stays on the disk."""
    store = Store(f"memory://{tmp_path.name}/board")
    before = set(Path(tempfile.gettempdir()).glob("windtunnel-board-*"))
    for first, last in ((1, 3), (3, 5)):
        board = Board(BoardRun(store.root), first - 1)
        assert board.empty == (first == 1)
        for step in range(first, last + 1):
            board.record(TRAIN, step, [("loss", float(first))])
        board.flush()
        sent = len(store.names())
        board.record(TRAIN, last + 1, [("loss", 0.0)])  # after the last checkpoint
        board.close()
        assert len(store.names()) == sent
    for name in store.names():
        (tmp_path / name).write_bytes(store.read(name))
    shown = [(1, 1.0), (2, 1.0), (3, 3.0), (4, 3.0), (5, 3.0), (6, 0.0)]
    assert scalars(tmp_path, "train/loss") == shown
    assert set(Path(tempfile.gettempdir()).glob("windtunnel-board-*")) == before


@pytest.mark.parametrize("text", ["# no *heading*\n\n- no list", "<script>alert(1)</script>"])
def test_a_text_is_code(tmp_path: Path, text: str) -> None:
    board = Board(BoardRun(str(tmp_path)), 0)
    board.text("samples/1", f"{text}\u202e", 7)
    board.close()
    ((step, shown),) = texts(tmp_path, "samples/1")
    assert step == 7
    assert shown.splitlines() == [f"    {line}" for line in f"{text}\\u202e".split("\n")]


def test_settings_have_dotted_names() -> None:
    settings = {"model": {"width": 64, "tied": True}, "clip": None, "betas": (0.9, 0.95)}
    assert hyperparameters(settings) == {
        "model.width": 64,
        "model.tied": True,
        "betas": "(0.9, 0.95)",
    }
