"""What a training minimises is given to it: a toy objective over pairs, and starts from weights
alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

import trainer.loop.run
from artifacts.errors import UserError
from artifacts.paths import Store
from mixtures.loader.loader import Batch, Loader
from tests.trainer.loop_corpus import Corpus
from tests.trainer.loop_runs import MODEL, plan, run, settings, traces
from trainer.checkpoints.checkpoint import NEXT_TOKEN, Checkpoint, at_step
from trainer.checkpoints.weights import Weights
from trainer.evaluation.held_out import held_out
from trainer.loop.metrics import read_series
from trainer.model import Model, init
from trainer.objectives.gradient import micro_batches, pending_loss
from trainer.objectives.losses import token_bytes
from trainer.objectives.next_token import NextToken
from trainer.objectives.objective import Columns, Measured, PartLoss, identity

BALANCE = 0.5


@dataclass(frozen=True)
class Pairs:
    """The first row of a pair shall be likelier than the second, each less what a reference says of
    it, an extra column (B,).
    """

    beta: float = 0.1
    name: str = "pairs"
    rows_together: int = 2

    def settings(self) -> dict[str, Any]:
        return {"beta": self.beta}

    def columns(self, batch: Batch) -> Mapping[str, NDArray[np.generic]]:
        return {"reference": (-(batch.tokens.sum(1) % 7)).astype(np.float32)}

    def normaliser(self, batch: Batch) -> float:
        return len(batch.tokens) / 2

    def loss(self, model: Model, columns: Columns) -> PartLoss:
        tokens, positions, targets = (
            columns[name].long() for name in ("tokens", "positions", "targets")
        )
        hidden = model(tokens, positions, columns["documents"])
        nats = model.loss(hidden, targets, columns["weights"])[2]
        likelihood = F.log_softmax(model.logits(hidden), -1).gather(-1, targets[..., None])[..., 0]
        gains = (likelihood * columns["weights"]).sum(1) - columns["reference"]
        margins = gains[0::2] - gains[1::2]  # (b / 2,)
        summed = -F.logsigmoid(self.beta * margins).sum()
        return PartLoss(summed, {"margins": margins, "nats": nats})

    def measure(
        self, batch: Batch, kept: Mapping[str, NDArray[Any]], sources: tuple[str, ...]
    ) -> Measured:
        assert kept["nats"].shape == batch.tokens.shape
        return Measured({}, {"accuracy": float((kept["margins"] > 0).mean())})


class Balanced(Model):
    """A model with a loss of its own."""

    def auxiliary_losses(self) -> dict[str, Tensor]:
        return {"balance": BALANCE * self.embedding.square().mean()}


def first_batch(corpus: Corpus) -> Batch:
    return Loader(plan(corpus), corpus.folders).batch(0)


def begun(corpus: Corpus, kind: type[Model]) -> Model:
    config = MODEL.config(corpus.tokenizer.vocab_size)
    model = kind(config)
    init(model, config, settings().seed)
    return model


@pytest.fixture
def balanced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer.loop.run, "Model", Balanced)


@pytest.mark.usefixtures("balanced")
def test_an_objective_over_pairs_is_stopped_and_resumed_bit_for_bit(
    corpus: Corpus, tmp_path: Path
) -> None:
    whole = run(corpus, tmp_path / "whole", objective=Pairs(), until_step=5)
    run(corpus, tmp_path / "parts", objective=Pairs(), until_step=3)
    parts = run(corpus, tmp_path / "parts", objective=Pairs(), until_step=5)
    assert whole.step == parts.step == 5
    assert traces(tmp_path / "whole") == traces(tmp_path / "parts")
    assert parts.checkpoint.objective == {"name": "pairs", "beta": 0.1}
    lines = read_series(tmp_path / "whole")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert all(0 <= line["accuracy"] <= 1 and line["sources"] == {} for line in lines)
    assert all(line["auxiliary"]["balance"] > 0 for line in lines)
    assert all(np.isfinite(line["loss"]) and line["targets"] == 0 for line in lines)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8])
def test_pairs_stay_together_and_other_micro_batches_change_rounding_only(
    corpus: Corpus, rows: int
) -> None:
    batch = first_batch(corpus)
    parts = list(micro_batches(batch, rows, 2))
    assert [part.start % 2 for part in parts] == [0] * len(parts)
    assert sum(part.stop - part.start for part in parts) == len(batch.tokens)
    models = [begun(corpus, Balanced) for _ in range(2)]
    steps = [
        pending_loss(Pairs(), model, batch, size, backward=True).read()
        for model, size in zip(models, (len(batch.tokens), rows), strict=True)
    ]
    assert steps[1].loss == pytest.approx(steps[0].loss, abs=1e-5)
    assert steps[1].auxiliary == pytest.approx(steps[0].auxiliary, rel=1e-5)
    assert steps[0].normaliser == len(batch.tokens) / 2
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_the_gradient_is_that_of_sum_over_normaliser_plus_the_auxiliary_loss(
    corpus: Corpus,
) -> None:
    batch = first_batch(corpus)
    model, plain = begun(corpus, Balanced), begun(corpus, Balanced)
    step = pending_loss(Pairs(), model, batch, 2, backward=True).read()
    arrays = {**vars(batch), **Pairs().columns(batch)}
    names = ("tokens", "positions", "targets", "weights", "documents", "reference")
    columns = {name: torch.from_numpy(arrays[name]) for name in names}
    pairs = len(batch.tokens) / 2
    loss = Pairs().loss(plain, columns).summed / pairs
    (loss + plain.auxiliary_losses()["balance"]).backward()  # type: ignore[no-untyped-call]
    assert step.loss == pytest.approx(float(loss.detach()), rel=1e-5)
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_rows_that_do_not_fill_groups_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    odd = Pairs(rows_together=3)
    with pytest.raises(UserError, match="groups of 3") as raised:
        run(corpus, tmp_path, objective=odd, until_step=1)
    assert raised.value.field == "train.batch_tokens"


@pytest.mark.parametrize(
    ("first", "second"),
    [(Pairs(), None), (None, Pairs()), (Pairs(), Pairs(beta=0.2))],
    ids=["pairs then tokens", "tokens then pairs", "another beta"],
)
def test_a_run_does_not_go_on_with_another_objective(
    corpus: Corpus, tmp_path: Path, first: Pairs | None, second: Pairs | None
) -> None:
    run(corpus, tmp_path, objective=first, until_step=2)
    with pytest.raises(UserError, match="was trained otherwise") as raised:
        run(corpus, tmp_path, objective=second, until_step=3)
    assert (raised.value.field or "").startswith("objective.")


def test_next_token_is_what_a_state_without_an_objective_means(
    corpus: Corpus, tmp_path: Path
) -> None:
    objective = NextToken(token_bytes(corpus.tokenizer))
    assert identity(objective) == NEXT_TOKEN
    done = run(corpus, tmp_path, until_step=1)
    assert done.checkpoint.state.objective is None
    assert b"objective" not in Path(done.checkpoint.folder, "state.json").read_bytes()
    assert done.checkpoint.objective == NEXT_TOKEN


def test_next_token_gives_the_bits_of_a_loop_written_out(corpus: Corpus) -> None:
    batch = first_batch(corpus)
    model, plain = begun(corpus, Model), begun(corpus, Model)
    step = pending_loss(
        NextToken(token_bytes(corpus.tokenizer)), model, batch, 3, backward=True
    ).read()
    total, summed = float(batch.weights.sum(dtype=np.float64)), torch.zeros((), dtype=torch.float64)
    for first in range(0, len(batch.tokens), 3):
        tokens, positions, targets = (
            torch.from_numpy(array[first : first + 3]).long()
            for array in (batch.tokens, batch.positions, batch.targets)
        )
        documents = torch.from_numpy(batch.documents)[first : first + 3]
        hidden = plain(tokens, positions, documents)
        weights = torch.from_numpy(batch.weights[first : first + 3])
        nats = plain.loss(hidden, targets, weights)[0]
        (nats / total).backward()  # type: ignore[no-untyped-call]
        summed = summed + nats.detach().double()
    assert step.loss == float(summed) / total
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad, other.grad)


@pytest.fixture(scope="module")
def trained(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return run(corpus, tmp_path_factory.mktemp("trained"), until_step=6).checkpoint


@pytest.mark.parametrize("from_file", [False, True], ids=["checkpoint", "file"])
def test_a_start_from_weights_alone_is_step_0_without_moments(
    corpus: Corpus, tmp_path: Path, trained: Checkpoint, from_file: bool
) -> None:
    file = Path(trained.folder, "weights.safetensors")
    weights = Weights.load(file) if from_file else Weights.of(trained)
    done = run(corpus, tmp_path, start=weights, until_step=0)
    assert (done.step, done.tokens) == (0, 0)
    begun = done.checkpoint
    assert begun.weights().keys() == trained.weights().keys()
    for name, tensor in trained.weights().items():
        assert torch.equal(begun.weights()[name], tensor)
    assert not any(tensor.any() for tensor in begun.moments().values())
    assert [stretch.from_step for stretch in begun.state.history] == [0]
    assert begun.state.parent is not None
    assert begun.state.parent["weights"] == trained.state.files["weights.safetensors"].checksum
    assert begun.state.parent["weights_alone"] is True


def test_the_first_update_from_weights_alone_is_that_of_a_fresh_optimizer(
    corpus: Corpus, tmp_path: Path, trained: Checkpoint
) -> None:
    run(corpus, tmp_path, start=Weights.of(trained), until_step=1)
    after = at_step(Store(tmp_path), 1)
    line = read_series(tmp_path)[0]
    batch = first_batch(corpus)
    model = begun(corpus, Model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(trained.weights()[name])
    sizes = token_bytes(corpus.tokenizer)
    pending_loss(NextToken(sizes), model, batch, 3, backward=True)
    clip = min(1.0, 1.0 / line["grad_norm"])
    moments = after.moments()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(
            moments[f"mean.{name}"], 0.1 * clip * parameter.grad, rtol=1e-4, atol=1e-8
        )


def test_a_start_from_weights_alone_resumes_bit_for_bit(
    corpus: Corpus, tmp_path: Path, trained: Checkpoint
) -> None:
    weights = Weights.of(trained)
    run(corpus, tmp_path / "whole", start=weights, until_step=5)
    run(corpus, tmp_path / "parts", start=weights, until_step=2)
    resumed = run(corpus, tmp_path / "parts", start=weights, until_step=5)
    assert traces(tmp_path / "whole") == traces(tmp_path / "parts")
    assert resumed.checkpoint.state.parent == weights.parent


def test_weights_of_another_model_are_refused(
    corpus: Corpus, tmp_path: Path, trained: Checkpoint
) -> None:
    for changes in ({"width": 64}, {"scale_depth": 2.0}):
        other = MODEL.model_copy(update=changes)
        with pytest.raises(UserError, match="another model"):
            run(corpus, tmp_path / str(changes), model=other, start=Weights.of(trained))
    with pytest.raises(UserError, match="not a safetensors file"):
        Weights.load(tmp_path / "nothing.safetensors")


def test_what_is_measured_on_held_out_data_can_be_replaced(corpus: Corpus, tmp_path: Path) -> None:
    class Norms:
        """The norm of the embedding in place of losses."""

        def line(self, model: Model) -> Mapping[str, Any]:
            return {"embedding": float(model.embedding.detach().norm())}

    run(corpus, tmp_path, objective=Pairs(), measure=Norms(), until_step=4)
    lines = read_series(tmp_path, "validation")
    assert [sorted(line) for line in lines] == [["embedding", "step"]]
    usual = held_out(corpus.held_out, corpus.tokenizer, sequence_length=32, windows=2)
    assert usual.line(begun(corpus, Model)).keys() == {"sources"}
