"""Presets: the paper's numbers, what is not among them, and what happens to entries that are not
mapped.
"""

from __future__ import annotations

from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import UserError
from mixtures.spec.presets import PRESETS, preset_weights

PUBLISHED = {
    name: [entry for entry, facts in entries.items() if facts.percent is not None]
    for name, entries in PRESETS.items()
}


@pytest.mark.parametrize(("name", "printed"), [("minicpm-stable", 99.0), ("minicpm-decay", 93.5)])
def test_printed_shares_are_the_papers_and_with_the_remainder_sum_to_100(
    name: str, printed: float
) -> None:
    shares = PRESETS[name].values()
    assert fsum(
        entry.percent or 0 for entry in shares if entry.basis == "printed"
    ) == pytest.approx(printed)
    assert fsum(entry.percent or 0 for entry in shares) == pytest.approx(100)
    assert [entry.basis for entry in shares].count("remainder") == 1


def test_entries_without_a_published_share_have_no_number() -> None:
    unknown = {
        entry for entry, facts in PRESETS["minicpm-decay"].items() if facts.basis == "not published"
    }
    assert len(unknown) == 12
    assert all(PRESETS["minicpm-decay"][entry].percent is None for entry in unknown)


def test_entries_of_one_source_add_and_the_rest_is_scaled() -> None:
    shares = preset_weights("minicpm-stable", {"c4": "web", "dolma": "web", "code": "code"})
    assert shares.weights == pytest.approx({"web": 39 / 64, "code": 25 / 64})
    assert shares.mapped_percent == pytest.approx(64)
    assert ("pile", 8.0) in [(out.entry, out.percent) for out in shares.left_out]
    assert len(shares.left_out) == 5


def test_an_unknown_entry_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError) as raised:
        preset_weights("minicpm-stable", {"dolme": "web"})
    assert raised.value.nearest == "dolma"


def test_an_entry_whose_share_is_not_published_is_refused_rather_than_invented() -> None:
    with pytest.raises(UserError) as raised:
        preset_weights("minicpm-decay", {"c4": "web", "law": "law"})
    assert raised.value.found == "law"
    assert "unlabelled" in str(raised.value.fix)


@given(st.sampled_from(sorted(PRESETS)), st.data())
def test_weights_sum_to_1_and_keep_the_papers_proportions(name: str, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(PUBLISHED[name]), min_size=1, unique=True))
    shares = preset_weights(name, {entry: entry for entry in chosen})  # type: ignore[arg-type]
    assert fsum(shares.weights.values()) == pytest.approx(1)
    for entry in chosen:
        assert shares.weights[entry] * shares.mapped_percent == pytest.approx(
            PRESETS[name][entry].percent
        )
    assert {out.entry for out in shares.left_out} == set(PRESETS[name]) - set(chosen)
