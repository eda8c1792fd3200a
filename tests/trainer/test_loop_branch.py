"""Branches: same start, same tokens, another mixture each; and what a checkpoint says when
asked.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch

from artifacts.errors import UserError
from mixtures.loader.loader import Loader
from mixtures.spec.rules import MixtureRules
from mixtures.spec.spec import Phase, PhaseSpec
from pipelines.commands.terminal.comparison import branch_json, branch_rows, unequal_branches
from pipelines.report.numerals import uncertain
from tests.trainer.loop_corpus import Corpus
from tests.trainer.loop_runs import (
    BATCH,
    DECAY,
    LENGTH,
    MIXED,
    STABLE,
    WEB,
    plan,
    run,
    settings,
    traces,
)
from trainer.checkpoints.checkpoint import Checkpoint, at_step, latest
from trainer.checkpoints.weights import model_of
from trainer.evaluation.generate import (
    GenerateSettings,
    chat_prompt,
    continuation,
    generate,
    speaker,
)
from trainer.loop.branch import START, Comparison, branch, branch_plan
from trainer.loop.metrics import read_series
from trainer.objectives.losses import NOTHING, by_source, token_bytes
from trainer.objectives.next_token import batch_loss

PLAIN = Phase(name="decay", decay=True, tokens=DECAY * BATCH, weights={"web": 0.6, "code": 0.4})


@pytest.fixture(scope="module")
def whole(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("branching") / "run"
    run(corpus, folder)
    return folder


def test_a_branch_is_planned_in_percent_of_the_run_and_by_the_sizes_of_its_sources(
    corpus: Corpus, whole: Path
) -> None:
    phase = PhaseSpec(
        name="decay",
        decay=True,
        percent=100 * DECAY / (STABLE + DECAY),
        weights_from=("web", "chat"),
    )
    planned = branch_plan(at_step(whole, STABLE), [phase], corpus.folders)
    assert planned.steps == STABLE + DECAY
    tokens = {source.name: source.tokens for source in planned.sources}
    assert planned.segments[-1].weights == pytest.approx(
        {name: tokens[name] / (tokens["web"] + tokens["chat"]) for name in ("web", "chat")}
    )


def test_a_source_reserved_for_a_branch_needs_the_branchs_name(corpus: Corpus) -> None:
    reserved = plan(corpus, WEB).model_copy(
        update={"rules": MixtureRules(reserve={"chat": "with-chat"})}
    )
    start = cast(
        Checkpoint,
        SimpleNamespace(
            read=lambda name: reserved.to_json(), state=SimpleNamespace(step=STABLE, imported=None)
        ),
    )
    assert "chat" in branch_plan(start, [MIXED], corpus.folders, "with-chat").names
    with pytest.raises(UserError, match="reserved for the phase or branch with-chat"):
        branch_plan(start, [MIXED], corpus.folders, "with-chat-1a2b3c4d")


def test_branches_share_the_start_and_the_tokens_and_differ_in_the_mixture(
    corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    start = at_step(whole, STABLE)
    seen: list[tuple[str, int]] = []
    comparison = branch(
        start,
        {"plain": [PLAIN], "mixed": [MIXED]},
        corpus.folders,
        tmp_path,
        validation=corpus.held_out,
        on_step=lambda name, report: seen.append((name, report.step)),
    )
    assert seen == [
        (name, step)
        for name in ("plain", "mixed")
        for step in range(STABLE + 1, STABLE + DECAY + 1)
    ]
    assert (comparison.step, comparison.tokens, comparison.stopped_by) == (
        STABLE,
        DECAY * BATCH,
        None,
    )
    rows = {(row["branch"], row["source"]): row for row in comparison.rows()}
    assert set(rows) == {
        (name, source) for name in (START, "plain", "mixed") for source in ("web", "code", "chat")
    }
    assert rows[START, "chat"]["change"] == 0
    assert rows["mixed", "chat"]["loss"] < rows["plain", "chat"]["loss"]  # it saw conversations
    assert rows["plain", "code"]["loss"] < rows["mixed", "code"]["loss"]  # it saw code
    says_every_difference_with_one_sign(comparison)
    assert unequal_branches(comparison) == []
    state = comparison.outcomes["mixed"].checkpoint.state
    assert state.parent == {
        "step": STABLE,
        "weights": start.state.files["weights.safetensors"].checksum,
    }
    assert [line["step"] for line in read_series(tmp_path / "plain")] == list(
        range(STABLE + 1, STABLE + DECAY + 1)
    )


def says_every_difference_with_one_sign(comparison: Comparison) -> None:
    """A row's own loss minus the start's, and minus the first branch's: exactly and in words."""
    losses = {
        (name, source): found.whole.per_token
        for name, sources in comparison.measured.items()
        for source, found in sources.items()
    }
    header, lines = branch_rows(comparison)
    assert header[-2:] == ("minus start", "minus plain")
    for row, line in zip(branch_json(comparison), lines, strict=True):
        name, source = row["branch"], row["source"]
        own = comparison.measured[name][source]
        assert (row["targets"], row["tokens"]) == (
            own.whole.tokens,
            0 if name == START else comparison.tokens,
        )
        assert row["half_width"] > 0
        assert row["change"] == losses[name, source] - losses[START, source]
        assert line[3] == uncertain(row["loss"], row["half_width"])
        if name != "mixed":
            assert (row["difference"], row["difference_half_width"], line[-1]) == (None, None, "-")
            continue
        assert row["difference"] == losses["mixed", source] - losses["plain", source]
        said = uncertain(row["difference"], row["difference_half_width"], plus=True)
        assert line[-1] == said.replace("\u2212", "-")
        assert (line[-1][0] == "-") == (losses["mixed", source] < losses["plain", source])


def test_a_branch_whose_rate_does_not_decay_is_said_to_be_another_thing(
    corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    steady = PLAIN.model_copy(update={"name": "more", "decay": False})
    comparison = branch(
        at_step(whole, STABLE),
        {"plain": [PLAIN], "steady": [steady]},
        corpus.folders,
        tmp_path,
        validation=corpus.held_out,
    )
    assert unequal_branches(comparison) == [
        "not equal: the learning rate of steady does not decay, that of the others does"
    ]


def test_a_branch_with_the_runs_own_decay_is_bitwise_the_run(
    corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    branch(
        at_step(whole, STABLE),
        {"again": [MIXED]},
        corpus.folders,
        tmp_path,
        validation=corpus.held_out,
    )
    found, expected = latest(tmp_path / "again"), latest(whole)
    assert found is not None
    assert expected is not None
    for name in ("weights.safetensors", "moments.safetensors"):
        assert found.read(name) == expected.read(name)


def test_a_branch_from_before_the_stable_end_is_the_run_of_that_length(
    corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    start = at_step(whole, 5)
    branch(start, {"early": [MIXED]}, corpus.folders, tmp_path, validation=corpus.held_out)
    lines = read_series(tmp_path / "early")
    assert [line["lr"] for line in lines] == [line["lr"] for line in read_series(whole)[STABLE:]]
    run(corpus, tmp_path / "straight", plan=branch_plan(start, [MIXED], corpus.folders))
    straight, early = traces(tmp_path / "straight"), traces(tmp_path / "early")
    assert early["9/weights.safetensors"] == straight["9/weights.safetensors"]


def test_a_stopped_comparison_goes_on_where_it_was(
    corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    start = at_step(whole, STABLE)
    run(
        corpus,
        tmp_path / "plain",
        plan=branch_plan(start, [PLAIN], corpus.folders),
        start=start,
        until_step=STABLE + 2,
    )
    steps: list[int] = []
    branch(
        start,
        {"plain": [PLAIN]},
        corpus.folders,
        tmp_path,
        validation=corpus.held_out,
        on_step=lambda _, report: steps.append(report.step),
    )
    assert steps == [STABLE + 3, STABLE + 4]


def test_unequal_tokens_a_decayed_start_and_odd_names_are_refused(
    corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    longer = Phase(name="decay", decay=True, tokens=2 * DECAY * BATCH, weights={"web": 1.0})
    start = at_step(whole, STABLE)
    with pytest.raises(UserError, match="equal tokens"):
        branch(
            start,
            {"a": [PLAIN], "b": [longer]},
            corpus.folders,
            tmp_path,
            validation=corpus.held_out,
        )
    with pytest.raises(UserError, match="has begun to decay") as error:
        branch(
            at_step(whole, 10), {"a": [PLAIN]}, corpus.folders, tmp_path, validation=corpus.held_out
        )
    assert error.value.allowed == [f"up to {STABLE}, where the decay starts"]
    for name in ("../a", START, ""):
        with pytest.raises(UserError, match="not a name for a branch"):
            branch(start, {name: [PLAIN]}, corpus.folders, tmp_path, validation=corpus.held_out)
    assert list(tmp_path.iterdir()) == []


def test_validation_agrees_with_the_losses_of_training(corpus: Corpus, whole: Path) -> None:
    model = model_of(at_step(whole, STABLE))
    batch = Loader(plan(corpus), corpus.folders).batch(STABLE)
    trained = batch_loss(model, batch, 8, backward=True)
    with torch.inference_mode():
        measured = batch_loss(model, batch, 8, backward=False)
    assert (trained.nats == measured.nats).all()
    losses = by_source(
        measured.nats,
        batch.targets,
        batch.weights,
        batch.source,
        ["chat", "code", "web"],
        token_bytes(corpus.tokenizer),
    )
    assert sum(losses.values(), NOTHING).per_token == pytest.approx(measured.loss, rel=1e-6)


def test_a_checkpoint_speaks_and_says_the_same_for_the_same_seed(
    corpus: Corpus, whole: Path
) -> None:
    model, tokenizer = speaker(whole / "checkpoints" / "step-00000012")
    assert tokenizer.hash == corpus.tokenizer.hash
    warm = GenerateSettings(tokens=12, temperature=1.0, seed=3, context=LENGTH)
    first = generate(model, tokenizer, ["the river", "def area"], warm)
    assert generate(model, tokenizer, ["the river", "add 1"], warm)[0] == first[0]
    assert generate(model, tokenizer, ["add 1", "def area", "the"], warm)[1] == first[1]
    assert (
        generate(model, tokenizer, ["the river"], warm.model_copy(update={"seed": 4})) != first[:1]
    )
    greedy = generate(model, tokenizer, ["the river"], GenerateSettings(tokens=12))
    assert greedy == generate(
        model, tokenizer, ["the river"], GenerateSettings(tokens=12, temperature=1.0, top_p=1e-9)
    )


def test_greedy_continuation_takes_the_likeliest_next_token(corpus: Corpus, whole: Path) -> None:
    model = model_of(at_step(whole, 12))
    prompt = [corpus.tokenizer.bos_id, *corpus.tokenizer.encode_text("the river")]
    said = continuation(model, prompt, eos=-1, settings=GenerateSettings(tokens=3))
    ids = [*prompt, *said]
    with torch.inference_mode():
        scores = model.logits(model(torch.tensor([ids]), torch.arange(len(ids))[None]))[0]
    assert scores.argmax(-1)[len(prompt) - 1 : -1].tolist() == said
    ended = continuation(model, prompt, eos=said[1], settings=GenerateSettings(tokens=3))
    assert ended == said[: said.index(said[1])]


def test_a_chat_prompt_is_the_beginning_of_a_conversation_in_the_shards(corpus: Corpus) -> None:
    import pyarrow as pa

    from artifacts.schemas import MESSAGES
    from tokenizer.chat import encode_conversations

    call = '[{"type":"function","function":{"name":"add","arguments":"{}"}}]'
    asked: list[dict[str, str | None]] = [
        {"role": "user", "content": "add 1 and 2"},
        {"role": "assistant", "content": None, "tool_calls": call},
        {"role": "tool", "content": "3"},
        {"role": "assistant", "content": "3"},
        {"role": "user", "content": "add 2 and 2"},
    ]
    whole_chat = [*asked, {"role": "assistant", "content": "4"}]
    tokens = encode_conversations(pa.array([whole_chat], MESSAGES), corpus.tokenizer)[0][0].as_py()
    prompt = chat_prompt(corpus.tokenizer, asked)
    assert prompt[0] == corpus.tokenizer.bos_id
    assert tokens[: len(prompt) - 1] == prompt[1:]
    with pytest.raises(UserError, match="no such role"):
        chat_prompt(corpus.tokenizer, [{"role": "usr", "content": "x"}])


def test_settings_of_a_recipe_say_what_is_wrong() -> None:
    assert settings().micro_batch_windows == 3
    assert settings(micro_batch_tokens=1).micro_batch_windows == 1
    for change, said in (
        ({"batch_tokens": 250}, "the nearest is 256"),
        ({"checkpoint": 5}, "Extra inputs"),
    ):
        with pytest.raises(ValueError, match=said):
            settings(**change)
