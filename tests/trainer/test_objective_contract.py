"""An objective that breaks its word ends the run with its name, and no step is made."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from artifacts.errors import UserError
from mixtures.loader.loader import Batch, Loader
from tests.trainer.loop_corpus import Corpus
from tests.trainer.loop_runs import DECAY, MIXED, MODEL, STABLE, plan, run
from tests.trainer.pair_objective import PairMeasure, Pairs
from trainer.checkpoints.checkpoint import at_step
from trainer.loop.branch import START, branch
from trainer.loop.metrics import read_series
from trainer.loop.start import FromWeights
from trainer.model import Model, init
from trainer.objectives.gradient import pending_loss
from trainer.objectives.losses import token_bytes
from trainer.objectives.next_token import NextToken
from trainer.objectives.objective import (
    STEP_FIELDS,
    Columns,
    Figures,
    Objective,
    PartLoss,
    Place,
    Tensors,
    record_of,
)


@dataclasses.dataclass(frozen=True)
class Breaking(Pairs):
    """Pairs, but for what a test says."""

    divided_by: Any = None
    figure: Any = None
    said: Any = None
    lost: bool = False

    def settings(self) -> dict[str, Any]:
        return super().settings() if self.said is None else {"beta": self.said}

    def normaliser(self, columns: Columns) -> float:
        found: float = super().normaliser(columns) if self.divided_by is None else self.divided_by
        return found

    def measure(
        self, batch: Batch, kept: Columns, sources: Sequence[str]
    ) -> dict[str, PairMeasure]:
        found = super().measure(batch, kept, sources)
        return {} if self.lost and len(sources) == 1 else found

    def figures(self, measures: Mapping[str, PairMeasure]) -> Figures:
        return Figures(further={} if self.figure is None else {"figure": self.figure})


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -1.0, np.float32("nan"), "x", torch.ones(2), [1.0]]
)
def test_a_step_is_divided_by_a_finite_number_that_is_not_negative(
    corpus: Corpus, tmp_path: Path, value: float
) -> None:
    with pytest.raises(UserError, match="the objective pairs breaks its word") as error:
        run(corpus, tmp_path, objective=Breaking(divided_by=value), until_step=1)
    assert error.value.field == "objective.normaliser"
    assert read_series(tmp_path) == []


def test_a_sum_that_is_not_finite_is_seen_where_nothing_divides_it(corpus: Corpus) -> None:
    class Lost(Pairs):
        def normaliser(self, columns: Columns) -> float:
            return 0.0

        def loss(self, model: Model, columns: Tensors) -> PartLoss:
            whole = super().loss(model, columns)
            return PartLoss(whole.summed * math.nan, whole.kept)

    batch = Loader(plan(corpus), corpus.folders).batch(0)
    model = Model(MODEL.config(corpus.tokenizer.vocab_size))
    init(model, model.config, 1)
    found = pending_loss(Lost(), model, batch, Place(0), 4, backward=False).read()
    assert math.isnan(found.loss)


def test_a_run_that_cannot_be_told_from_next_token_prediction_is_refused(
    corpus: Corpus, tmp_path: Path
) -> None:
    class Bent(NextToken):
        pass

    for objective in (Pairs(name="next_token"), Bent(token_bytes(corpus.tokenizer))):
        with pytest.raises(UserError, match="the name of next-token prediction") as error:
            run(corpus, tmp_path, objective=objective)
        assert error.value.found == type(objective).__name__


def test_an_objective_that_is_falsy_is_not_replaced(corpus: Corpus, tmp_path: Path) -> None:
    class Falsy(Pairs):
        def __bool__(self) -> bool:
            return False

    outcome = run(corpus, tmp_path, objective=Falsy(), until_step=1)
    assert outcome.checkpoint.state.objective == record_of(Pairs())


@pytest.mark.parametrize("name", STEP_FIELDS)
def test_no_figure_takes_the_place_of_one_that_every_line_holds(name: str) -> None:
    for figures in ({"units": {name: 1}}, {"further": {name: 1}}):
        with pytest.raises(UserError, match="has the name of another") as error:
            Figures(**figures)
        assert error.value.found == name


def test_two_figures_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match="has the name of another"):
        Figures(units={"accuracy": 1}, further={"accuracy": 2})


def test_figures_may_be_numbers_of_numpy_in_lists_that_are_not_finite(
    corpus: Corpus, tmp_path: Path
) -> None:
    figure = [np.float32(0.5), {"deep": (np.int64(3), math.nan)}, np.bool_(True)]
    run(corpus, tmp_path, objective=Breaking(figure=figure), until_step=1)
    (line,) = read_series(tmp_path)
    assert line["figure"] == [0.5, {"deep": [3, None]}, True]


def test_a_figure_that_is_no_value_is_named(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no value that JSON has") as error:
        run(corpus, tmp_path, objective=Breaking(figure={"a": torch.ones(2)}), until_step=1)
    assert (error.value.field, error.value.found) == ("figure.a", "Tensor")


@pytest.mark.parametrize("said", [np.float32(0.1), math.nan, {1, 2}])
def test_settings_that_no_checkpoint_can_hold_are_refused_before_a_step(
    corpus: Corpus, tmp_path: Path, said: object
) -> None:
    with pytest.raises(UserError, match="no plain JSON values") as error:
        run(corpus, tmp_path, objective=Breaking(said=said), until_step=1)
    assert error.value.field == "objective"


@pytest.mark.parametrize("rows", [0, 2.0, math.nan, True, "2", None])
def test_groups_hold_a_whole_number_of_rows(corpus: Corpus, tmp_path: Path, rows: Any) -> None:
    with pytest.raises(UserError, match="breaks its word") as error:
        run(corpus, tmp_path, objective=Pairs(rows_together=rows), until_step=1)
    assert error.value.field == "objective.rows_together"


def test_a_source_that_the_measure_leaves_out_is_named(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="breaks its word") as error:
        run(corpus, tmp_path, objective=Breaking(lost=True), until_step=4)
    assert (error.value.field, error.value.found) == ("objective.measure", "no source")


def test_a_column_may_be_read_backwards(corpus: Corpus, tmp_path: Path) -> None:
    class Backwards(Pairs):
        def columns(self, batch: Batch, place: Place) -> Columns:
            found = dict(super().columns(batch, place))
            return {**found, "reference": np.ascontiguousarray(found["reference"][::-1])[::-1]}

    for name, objective in (("plain", Pairs()), ("turned", Backwards())):
        run(corpus, tmp_path / name, objective=objective, until_step=2)
    assert read_series(tmp_path / "plain") == read_series(tmp_path / "turned")


def test_weights_that_are_not_finite_are_refused_with_their_name(
    corpus: Corpus, tmp_path: Path
) -> None:
    model = Model(MODEL.config(corpus.tokenizer.vocab_size))
    init(model, model.config, 1)
    tensors = {name: value.detach().clone() for name, value in model.named_parameters()}
    tensors["final_norm.weight"][3] = math.inf
    with pytest.raises(UserError, match="weights that are not finite") as error:
        run(corpus, tmp_path, start=FromWeights.of_tensors(tensors, "imported"))
    assert (error.value.file, error.value.field) == ("imported", "final_norm.weight")
    assert error.value.found == f"1 of {MODEL.width} values"


def test_branches_minimise_and_measure_what_their_start_did(corpus: Corpus, tmp_path: Path) -> None:
    objective: Objective[PairMeasure] = Pairs()
    run(corpus, tmp_path / "run", objective=objective, until_step=STABLE)
    start = at_step(tmp_path / "run", STABLE)
    options: dict[str, Any] = {"validation": corpus.held_out}
    found = branch(
        start, {"mixed": [MIXED]}, corpus.folders, tmp_path / "b", objective=objective, **options
    )
    run(corpus, tmp_path / "run", objective=objective)
    whole = at_step(tmp_path / "run", STABLE + DECAY)
    assert found.outcomes["mixed"].checkpoint.read("weights.safetensors") == whole.read(
        "weights.safetensors"
    )
    rows = {(row["branch"], row["source"]): row for row in found.rows()}
    assert {"pairs", "accuracy", "loss", "change"} < set(rows[START, "web"])
    last = read_series(tmp_path / "run", "validation")[-1]["sources"]["web"]
    assert rows["mixed", "web"]["loss"] == last["loss"]
    with pytest.raises(UserError, match="was trained otherwise") as error:
        branch(start, {"mixed": [MIXED]}, corpus.folders, tmp_path / "c", **options)
    assert (error.value.field, error.value.found) == ("objective", "next_token")
