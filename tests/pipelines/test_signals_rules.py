"""Rules: all are evaluated, the first gives the reason, thresholds are overridden by name."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from pipelines.signals import gopher, gopher_rules, rule_sets, rules
from pipelines.signals.rules import Rule

RULES = (
    Rule("low", "min_a", "a", "<", 2),
    Rule("high", "max_a", "a", ">", 5),
    Rule("dense", "max_share", "b", ">", 0.5, per="a"),
)


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=12))
def test_mask_holds_every_rule_and_reason_the_first(rows: list[tuple[int, int]]) -> None:
    batch = pa.record_batch(
        {
            "a": pa.array([a for a, _ in rows], pa.int64()),
            "b": pa.array([b for _, b in rows], pa.int64()),
        }
    )
    mask, reasons = rules.evaluate(batch, RULES)
    assert mask.dtype == np.uint64
    assert len(mask) == len(reasons) == len(rows)
    for (a, b), bits, reason in zip(rows, mask.tolist(), reasons.to_pylist(), strict=True):
        fires = [a < 2, a > 5, b / a > 0.5 if a else b > 0]
        assert bits == sum(1 << index for index, fired in enumerate(fires) if fired)
        assert reason == next(
            (rule.reason for rule, fired in zip(RULES, fires, strict=True) if fired), None
        )


def test_null_breaks_no_rule() -> None:
    batch = pa.record_batch({"a": pa.array([None, 1.0, None])})
    mask, reasons = rules.evaluate(batch, RULES[:2])
    assert mask.tolist() == [0, 1, 0]
    assert reasons.to_pylist() == [None, "low", None]


def test_thresholds_themselves_are_allowed() -> None:
    mask, _ = rules.evaluate(pa.record_batch({"a": pa.array([2, 5])}), RULES[:2])
    assert mask.tolist() == [0, 0]


def test_tables_of_several_chunks_and_slices_are_evaluated() -> None:
    table = pa.table({"a": pa.chunked_array([[1, 3], [9]])})
    assert rules.evaluate(table, RULES[:2])[1].to_pylist() == ["low", None, "high"]
    assert rules.evaluate(pa.record_batch({"a": pa.array([3, 1, 9])}).slice(1), RULES[:2])[
        1
    ].to_pylist() == ["low", "high"]


def test_without_rules_everything_is_kept() -> None:
    mask, reasons = rules.evaluate(pa.record_batch({"a": pa.array([1, 2])}), ())
    assert mask.tolist() == [0, 0]
    assert reasons.to_pylist() == [None, None]


def test_thresholds_are_overridden_by_name_and_null_leaves_a_rule_out() -> None:
    chosen = rule_sets.rule_set("gopher_quality", {"min_words": 30, "min_stop_words": None})
    by_option = {rule.option: rule.threshold for rule in chosen}
    assert by_option["min_words"] == 30
    assert by_option["max_words"] == 100_000
    assert "min_stop_words" not in by_option
    assert gopher_rules.GOPHER_QUALITY.rules[0].threshold == 50


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(UserError) as set_error:
        rule_sets.rule_set("gopher_qualty")
    assert set_error.value.nearest == "gopher_quality"
    with pytest.raises(UserError) as option_error:
        rule_sets.rule_set("gopher_quality", {"min_word": 30})
    assert option_error.value.nearest == "min_words"
    assert option_error.value.field == "gopher_quality.min_word"


@pytest.mark.parametrize("value", [True, "30", float("nan"), float("inf"), [1]])
def test_a_threshold_is_a_finite_number(value: object) -> None:
    with pytest.raises(UserError, match="min_words: 50"):
        rule_sets.rule_set("gopher_quality", {"min_words": value})  # type: ignore[dict-item]


def test_a_missing_measure_is_named() -> None:
    with pytest.raises(UserError) as error:
        rules.evaluate(
            pa.record_batch({"word": pa.array([1])}), rule_sets.rule_set("gopher_quality")
        )
    assert error.value.found == "symbol_free_words"


def test_a_mask_has_sixty_four_bits() -> None:
    batch = pa.record_batch({"a": pa.array([0])})
    many = tuple(Rule(f"r{index}", f"o{index}", "a", "<", 1) for index in range(65))
    assert rules.evaluate(batch, many[:64])[0].tolist() == [2**64 - 1]
    with pytest.raises(ValueError, match="65"):
        rules.evaluate(batch, many)


@pytest.mark.parametrize("name", sorted(rule_sets.RULE_SETS))
def test_every_set_reads_measured_columns_and_has_distinct_names(name: str) -> None:
    chosen = rule_sets.rule_set(name)
    assert {column for rule in chosen for column in (rule.column, rule.per or rule.column)} <= set(
        gopher.COLUMNS.names
    )
    assert (
        len({rule.reason for rule in chosen})
        == len({rule.option for rule in chosen})
        == len(chosen)
    )


def test_chinese_rules_keep_prose_and_name_what_is_wrong() -> None:
    prose = "天气很好，我们一起去公园散步，看见许多孩子在草地上放风筝。" * 5
    texts = [
        prose,
        "太短。",
        prose + "#" * 40,
        prose + "……" * 20,
        "\n".join(["- 今天天气很好我们去公园散步"] * 12),
        "\n".join(["天气很好，我们一起去公园散步看见许多孩子…"] * 8),
        prose + "12,345.67 " * 30,
    ]
    batch = gopher.measure(pa.array(texts, pa.large_string()))
    reasons = rules.evaluate(batch, rule_sets.rule_set("gopher_quality_zh"))[1].to_pylist()
    assert reasons == [
        None,
        "gopher_short_doc",
        "gopher_too_many_hashes",
        "gopher_too_many_ellipsis",
        "gopher_too_many_bullets",
        "gopher_too_many_end_ellipsis",
        "gopher_below_alpha_threshold",
    ]
