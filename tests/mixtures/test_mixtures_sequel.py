"""Plans that go on after others: the sources go on, the steps count anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import UserError
from mixtures.freeze.freeze import Plan, branch, freeze
from mixtures.freeze.sequel import sequel
from mixtures.inspect.check_plan import check_plan
from mixtures.loader.loader import Loader
from mixtures.order.interleave import check_cursors, tokens_shown
from mixtures.order.source_order import source_orders
from mixtures.spec.phase import PhaseSpec
from mixtures.spec.spec import MixtureSpec
from tests.mixtures.random_plans import SEEDS, plan_of

STABLE = PhaseSpec(name="stable", tokens=1024, weights={"web": 1.0})
DECAY = PhaseSpec(name="decay", decay=True, tokens=512, weights={"web": 0.75, "code": 0.25})


def phases(tokens: int, weights: dict[str, float], decay: int) -> tuple[PhaseSpec, ...]:
    ending = PhaseSpec(name="decay", decay=True, tokens=decay, weights=weights)
    return PhaseSpec(name="stable", tokens=tokens, weights=weights), ending


WEIGHTS = st.sampled_from([{"web": 1.0}, {"web": 0.6, "code": 0.4}, {"chat": 0.5, "web": 0.5}])
SPECS = st.builds(
    lambda tokens, weights, decay, packing: MixtureSpec(
        phases=phases(tokens, weights, decay), packing=dict.fromkeys(weights, packing)
    ),
    st.integers(1, 900),
    WEIGHTS,
    st.integers(1, 400),
    st.sampled_from(["stream", "documents"]),
)


@given(SPECS, st.floats(0, 1), SPECS, SEEDS)
@settings(max_examples=30, deadline=None)
def test_it_shows_what_a_branch_without_a_decay_before_it_would(
    shards: Any, spec: MixtureSpec, where: float, after: MixtureSpec, seed: int
) -> None:
    plan = plan_of(shards, spec, seed)
    step = round(where * plan.steps)
    again = sequel(plan, step, after.phases, shards.sources)
    steady = plan.changed(
        segments=tuple(one.model_copy(update={"decay": False}) for one in plan.segments)
    )
    whole = branch(steady, step, after.phases, shards.sources)
    assert (again.steps, again.history) == (whole.steps - step, ())
    own, both = Loader(again, shards.folders), Loader(whole, shards.folders)
    for place in {0, again.steps // 2, again.steps - 1}:
        assert np.array_equal(own.batch(place).tokens, both.batch(step + place).tokens)
    shown = tokens_shown(whole, whole.steps) - tokens_shown(whole, step)
    assert tokens_shown(again, again.steps).tolist() == shown.tolist()


@given(SPECS, st.floats(0, 1), SPECS, SEEDS)
@settings(max_examples=15, deadline=None)
def test_it_is_a_plan_like_any_other_and_another_may_go_on_after_it(
    shards: Any, spec: MixtureSpec, where: float, after: MixtureSpec, seed: int
) -> None:
    plan = plan_of(shards, spec, seed)
    again = sequel(plan, round(where * plan.steps), after.phases, shards.sources)
    assert Plan.model_validate_json(again.to_json()).hash == again.hash
    check_cursors(again)
    check_plan(again, shards.folders)
    third = sequel(again, again.steps, after.phases, shards.sources)
    behind = dict(zip(again.names, third.segments[0].passed, strict=False))
    tokens = dict(zip(again.names, tokens_shown(again, again.steps).tolist(), strict=True))
    for name, windows in zip(again.names, again.segments[0].passed or [0] * 99, strict=False):
        assert behind[name] == windows + tokens[name] // again.sequence_length


@pytest.fixture(scope="module")
def trunk(shards: Any) -> Plan:
    spec = MixtureSpec(phases=(STABLE, DECAY), packing={"web": "stream", "code": "stream"})
    return freeze(spec, shards.sources, sequence_length=16, batch_tokens=128, seed=4)


def test_a_second_decay_is_a_plan_of_its_own(shards: Any, trunk: Plan) -> None:
    again = sequel(trunk, trunk.steps, [STABLE, DECAY], shards.sources)
    assert (trunk.steps, again.steps, again.decay_step) == (12, 12, 8)
    with pytest.raises(UserError, match="begins once"):
        branch(trunk, trunk.steps, [STABLE, DECAY], shards.sources)


def test_nothing_is_passed_over_before_the_first_step(shards: Any, trunk: Plan) -> None:
    again = sequel(trunk, 0, [STABLE, DECAY], shards.sources)
    assert [one.passed for one in again.segments] == [(), ()]
    assert [one.cursors for one in again.segments] == [one.cursors for one in trunk.segments]


def test_caps_count_what_both_show(shards: Any, trunk: Plan) -> None:
    capped = trunk.changed(rules=trunk.rules.model_copy(update={"max_repetitions": 1}))
    web = capped.names.index("web")
    order = source_orders(capped, 0)[web]
    left = order.windows * order.window - int(tokens_shown(capped, capped.steps)[web])
    fits = STABLE.model_copy(update={"tokens": left // 128 * 128})
    first = sequel(capped, capped.steps, [fits], shards.sources)
    more = STABLE.model_copy(update={"tokens": left + 128})
    with pytest.raises(UserError, match="max_repetitions"):
        sequel(capped, capped.steps, [more], shards.sources)
    with pytest.raises(UserError, match="max_repetitions"):  # windows passed over count too
        sequel(first, first.steps, [STABLE], shards.sources)


def test_windows_of_another_length_are_refused(shards: Any, trunk: Plan) -> None:
    longer = STABLE.model_copy(update={"sequence_length": 32, "batch_tokens": 128})
    with pytest.raises(UserError) as refused:
        sequel(trunk, trunk.steps, [longer], shards.sources)
    assert "windows of 32 in batches of 128 tokens" in str(refused.value)
    with pytest.raises(UserError, match="no such step"):
        sequel(trunk, 13, [STABLE], shards.sources)
