"""Caps on the run: repetitions of every source, minimums, reserves; and that edits and branches
keep to them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from artifacts.errors import UserError
from mixtures.freeze.freeze import Plan, append_segment, branch, freeze
from mixtures.freeze.plan_table import table
from mixtures.loader.loader import Loader
from mixtures.order.sound_plan import load_plan
from mixtures.spec.phase import PhaseSpec
from mixtures.spec.spec import MixtureSpec

LENGTH = 16


def plan_of(sources: Any, *phases: dict[str, Any], **rest: Any) -> Plan:
    """Streams only, so that an epoch has the tokens of whole windows and no padding."""
    spec = MixtureSpec.model_validate({"phases": list(phases), **rest})
    spec = spec.model_copy(update={"packing": dict.fromkeys(sources, "stream")})
    return freeze(spec, sources, sequence_length=LENGTH, batch_tokens=64, seed=3)


def shown(plan: Plan) -> dict[str, int]:
    return {row.source: row.tokens for row in table(plan) if row.phase is None}


def epoch(shards: Any, name: str) -> int:
    return int(shards.sources[name].manifest.tokens) // LENGTH * LENGTH


def phase(name: str, tokens: int, weights: dict[str, float], **rest: Any) -> dict[str, Any]:
    return {"name": name, "tokens": tokens, "weights": weights, **rest}


# -- repetitions --------------------------------------------------------------------------------


def test_no_source_is_repeated_more_often_than_the_run_allows(shards: Any) -> None:
    chat = epoch(shards, "chat")
    phases = [phase(name, 2 * chat, {"web": 0.5, "chat": 0.5}) for name in ("one", "two")]
    plan = plan_of(shards.sources, *phases, max_repetitions=3)
    loader, times = (
        Loader(plan, shards.folders),
        [np.zeros(source.tokens, np.int64) for source in plan.sources],
    )
    for step in range(plan.steps):
        for _, _, source, start, tokens in loader.windows.of_step(step)[1].tolist():
            times[source][start : start + tokens] += 1
    assert max(shown.max() for shown in times) == 2
    with pytest.raises(UserError) as raised:
        plan_of(shards.sources, *phases, max_repetitions=1)
    error = raised.value
    assert error.field == "mixture.max_repetitions"
    assert f"wanted of chat, {chat:,} in an epoch" in str(error.found)
    assert "phase two" in str(error.fix)


def test_the_repetitions_that_would_fit_do_fit(shards: Any) -> None:
    phases = [phase("one", 5 * epoch(shards, "chat"), {"web": 0.5, "chat": 0.5})]
    with pytest.raises(UserError) as raised:
        plan_of(shards.sources, *phases, max_repetitions=2)
    needed = int(str(raised.value.fix).rsplit("raise the cap to ", 1)[1])
    assert needed == 3
    assert plan_of(shards.sources, *phases, max_repetitions=needed)


def test_when_no_weights_could_keep_to_the_caps_the_length_that_would_is_told(shards: Any) -> None:
    together = 2 * (epoch(shards, "web") + epoch(shards, "chat"))
    with pytest.raises(UserError) as raised:
        plan_of(
            shards.sources,
            phase("one", together + 640, {"web": 0.5, "chat": 0.5}),
            max_repetitions=2,
        )
    assert f"come to {together:,} of its" in str(raised.value.fix)


def test_a_source_that_is_used_up_is_to_be_taken_out(shards: Any) -> None:
    chat = epoch(shards, "chat")
    phases = [
        phase("one", chat // 64 * 64, {"chat": 1.0}),
        phase("two", 640, {"chat": 0.5, "web": 0.5}),
    ]
    with pytest.raises(UserError) as raised:
        plan_of(shards.sources, *phases, max_epochs={"chat": (chat // 64 * 64) / chat})
    assert "take chat out of phase two" in str(raised.value.fix)


def test_a_cap_on_a_source_holds_for_each_of_its_bands(banded: dict[str, Any]) -> None:
    bands = {"wiki": {"high": 3, "low": 1}}
    tokens = 2 * sum(source.manifest.tokens for name, source in banded.items() if name != "web")
    one = phase("one", tokens, {"web": 0.5, "wiki": 0.5}, bands=bands)
    rows = {row.source: row for row in table(plan_of(banded, one)) if row.phase is None}
    assert rows["wiki/high"].epochs == pytest.approx(3 * rows["wiki/low"].epochs, rel=0.1)
    with pytest.raises(UserError) as raised:
        plan_of(banded, one, max_epochs={"wiki": 1})
    assert raised.value.field == "mixture.max_epochs.wiki"
    assert "wiki/high" in raised.value.message


@pytest.fixture
def banded(shard_writer: Any) -> dict[str, Any]:
    from tokenizer.shards.reader import open_source

    folders = {
        name.replace("-", "/", 1): shard_writer(name, [[5] * 30] * documents)
        for name, documents in (("web", 60), ("wiki-high", 20), ("wiki-low", 40))
    }
    return {name: open_source(folder) for name, folder in folders.items()}


# -- minimums -----------------------------------------------------------------------------------


@pytest.mark.parametrize("minimum", [200, 480, 3000])
def test_a_minimum_is_met_by_the_weight_that_its_error_names(shards: Any, minimum: int) -> None:
    stable = phase("stable", 4000, {"web": 0.97, "code": 0.03})
    decay = phase("decay", 800, {"web": 0.95, "code": 0.05}, decay=True)
    with pytest.raises(UserError) as raised:
        plan_of(shards.sources, stable, decay, min_tokens={"code": minimum})
    weight = float(str(raised.value.fix).rsplit(" ", 1)[1])
    raisedto = phase("stable", 4000, {"web": 1 - weight, "code": weight})
    assert (
        shown(plan_of(shards.sources, raisedto, decay, min_tokens={"code": minimum}))["code"]
        >= minimum
    )


# -- edits and branches -------------------------------------------------------------------------

STABLE = phase("stable", 1800, {"web": 0.6, "code": 0.4})
DECAY = phase("decay", 200, {"web": 0.5, "code": 0.5}, decay=True)


def ending(**facts: Any) -> PhaseSpec:
    return PhaseSpec.model_validate({"name": "decay", "decay": True, "percent": 10, **facts})


def test_percents_of_a_branch_are_of_the_runs_tokens(shards: Any) -> None:
    plan = plan_of(shards.sources, STABLE, DECAY)
    other = branch(plan, 29, [ending(weights={"web": 1.0})])
    assert other.segments[-1].asked_tokens == 200
    assert other.tokens == plan.tokens


def test_a_branch_weighs_by_size_by_preset_and_with_sources_the_plan_does_not_know(
    shards: Any,
) -> None:
    plan = plan_of(shards.sources, STABLE, DECAY)
    sized = branch(
        plan, 20, [ending(weights_from=["web", "chat"])], {"chat": shards.sources["chat"]}
    )
    tokens = {name: shards.sources[name].manifest.tokens for name in ("web", "chat")}
    assert sized.segments[-1].weights["chat"] == pytest.approx(
        tokens["chat"] / sum(tokens.values())
    )
    preset = branch(
        plan,
        20,
        [ending(preset={"name": "minicpm-decay", "sources": {"c4": "web", "code": "code"}})],
    )
    assert preset.segments[-1].weights == pytest.approx({"web": 9.5 / 29.1, "code": 19.6 / 29.1})


def test_rules_are_part_of_the_plan_and_survive_its_file(shards: Any, tmp_path: Any) -> None:
    rules = {
        "max_repetitions": 40,
        "reserve": {"chat": "with-chat"},
        "hold_out": ["tiny"],
        "max_epochs": {"web": 30.5},
    }
    plan = plan_of(shards.sources, STABLE, DECAY, **rules)
    (tmp_path / "plan.json").write_bytes(plan.to_json())
    assert load_plan(tmp_path / "plan.json").rules == plan.rules
    assert plan.rules.model_dump(mode="json") == rules


def test_a_source_reserved_for_a_branch_is_shown_there_and_nowhere_else(shards: Any) -> None:
    plan = plan_of(shards.sources, STABLE, DECAY, reserve={"chat": "with-chat"})
    chat = [ending(weights={"web": 0.5, "chat": 0.5})]
    assert "chat" in branch(plan, 29, chat, shards.sources, "with-chat").names
    for name in ("without", None):
        with pytest.raises(UserError) as raised:
            branch(plan, 29, chat, shards.sources, name)
        assert raised.value.field == "mixture.phases.decay.weights.chat"


def test_an_edit_before_the_decay_keeps_to_the_reserve(shards: Any) -> None:
    plan = plan_of(shards.sources, STABLE, DECAY, reserve={"chat": "decay"})
    more = PhaseSpec.model_validate(phase("more", 100, {"chat": 1.0}))
    assert append_segment(plan, more, plan.steps, shards.sources)
    with pytest.raises(UserError, match="reserved for the decay"):
        append_segment(plan, more, 20, shards.sources)


def test_a_branch_cannot_show_what_is_held_out_nor_exceed_repetitions(shards: Any) -> None:
    plan = plan_of(shards.sources, STABLE, DECAY, hold_out=["chat"], max_repetitions=2)
    with pytest.raises(UserError, match="held out"):
        branch(plan, 29, [ending(weights={"chat": 1.0})], shards.sources)
    long = PhaseSpec.model_validate(phase("long", 3 * epoch(shards, "web"), {"web": 1.0}))
    with pytest.raises(UserError) as raised:
        branch(plan, 29, [long])
    assert raised.value.field == "mixture.max_repetitions"


def test_a_source_shorter_than_a_window_is_refused_in_a_branch_too(shards: Any) -> None:
    spec = MixtureSpec.model_validate({"phases": [STABLE, DECAY]})
    plan = freeze(spec, shards.sources, sequence_length=512, batch_tokens=512, seed=3)
    with pytest.raises(UserError, match="less than one window"):
        branch(plan, 1, [ending(weights={"tiny": 1.0})], shards.sources)
