"""Settings for training: presets and what is to differ from them, the schedule the plan completes."""

from __future__ import annotations

import pytest

from artifacts.errors import UserError
from tests.trainer.loop_corpus import Corpus
from tests.trainer.loop_runs import DECAY, STABLE, WEB, plan, settings
from trainer.branch import model_settings
from trainer.presets import preset
from trainer.schedules import rate
from trainer.settings import ModelSettings


def test_a_preset_takes_the_tokenizers_vocabulary_and_the_settings_given() -> None:
    config = ModelSettings(preset="9M", layers=4, rope_theta=5000.0).config(4096)
    assert config == preset("9M", vocab_size=4096, layers=4, rope_theta=5000.0)
    assert ModelSettings(vocab_size=8192).config(4096).vocab_size == 8192
    assert model_settings(config).config(4096) == config


def test_a_vocabulary_too_small_for_the_tokenizer_is_refused() -> None:
    with pytest.raises(UserError) as error:
        ModelSettings(vocab_size=4000).config(4096)
    assert error.value.field == "model.vocab_size"
    with pytest.raises(UserError, match="no such model preset") as error:
        ModelSettings(preset="9m").config(4096)
    assert error.value.nearest == "9M"


def test_the_plan_fixes_where_the_decay_starts_and_ends(corpus: Corpus) -> None:
    schedule = settings().schedule_of(plan(corpus))
    assert (schedule.decay_start, schedule.end) == (STABLE, STABLE + DECAY)
    assert rate(schedule, STABLE) == 0.02
    assert rate(schedule, STABLE + DECAY) == pytest.approx(0.002)
    assert settings().schedule_of(plan(corpus, WEB)).decay_start is None


def test_ends_a_schedule_names_must_be_the_plans(corpus: Corpus) -> None:
    named = settings(schedule={"peak": 0.02, "decay_start": STABLE, "end": STABLE + DECAY})
    assert named.schedule_of(plan(corpus)) == settings(schedule={"peak": 0.02}).schedule_of(plan(corpus))
    assert named.without_ends() == settings(schedule={"peak": 0.02})
    for schedule, field, allowed in (
        ({"decay_start": STABLE - 1}, "train.schedule.decay_start", f"{STABLE}, where phase 'decay' begins"),
        ({"end": STABLE}, "train.schedule.end", f"{STABLE + DECAY}, where the last phase ends"),
    ):
        with pytest.raises(UserError) as error:
            settings(schedule={"peak": 0.02, **schedule}).schedule_of(plan(corpus))
        assert (error.value.field, error.value.allowed) == (field, [allowed])
    with pytest.raises(UserError) as error:
        named.schedule_of(plan(corpus, WEB))
    assert error.value.allowed == ["leave it out: no phase is marked decay"]


def test_auto_is_fp32_here_and_half_precision_is_refused() -> None:
    assert (settings().precision, settings().resolved_precision, settings().fixed()["precision"]) == ("auto", "fp32", "fp32")
    with pytest.raises(UserError, match="needs a GPU") as error:
        settings(precision="bf16")
    assert (error.value.field, error.value.allowed) == ("train.precision", ["auto", "fp32"])


def test_a_warm_up_that_reaches_into_the_decay_is_refused(corpus: Corpus) -> None:
    with pytest.raises(UserError) as error:
        settings(schedule={"peak": 0.1, "warmup": STABLE + 1}).schedule_of(plan(corpus))
    assert error.value.field == "train.schedule.warmup"
