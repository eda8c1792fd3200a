"""Settings for training: presets and what is to differ from them, the schedule the plan
completes.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from artifacts.errors import UserError
from mixtures.spec.spec import Phase
from tests.trainer.loop_corpus import Corpus
from tests.trainer.loop_runs import BATCH, DECAY, MIXED, STABLE, WEB, plan, settings
from trainer.devices.precision import check_possible, computing_in, device_of
from trainer.loop.branch import model_settings
from trainer.loop.settings import ModelSettings
from trainer.optimizer.schedules import rate
from trainer.shapes.presets import preset


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
    assert named.schedule_of(plan(corpus)) == settings(schedule={"peak": 0.02}).schedule_of(
        plan(corpus)
    )
    assert named.without_ends() == settings(schedule={"peak": 0.02})
    for schedule, field, allowed in (
        (
            {"decay_start": STABLE - 1},
            "train.schedule.decay_start",
            f"{STABLE}, where phase 'decay' begins",
        ),
        ({"end": STABLE}, "train.schedule.end", f"{STABLE + DECAY}, where the last phase ends"),
    ):
        with pytest.raises(UserError) as error:
            settings(schedule={"peak": 0.02, **schedule}).schedule_of(plan(corpus))
        assert (error.value.field, error.value.allowed) == (field, [allowed])
    with pytest.raises(UserError) as error:
        named.schedule_of(plan(corpus, WEB))
    assert error.value.allowed == ["leave it out: no phase is marked decay"]


def test_phases_after_the_end_of_a_decay_run_at_the_rate_it_ends_with(corpus: Corpus) -> None:
    end, after = STABLE + DECAY, 3
    tuning = Phase(name="after", tokens=after * BATCH, weights={"chat": 1.0})
    three = plan(corpus, WEB, MIXED, tuning)
    decay = {"shape": "linear", "final": 0.25}
    named = settings(schedule={"peak": 0.02, "decay": decay, "end": end}).schedule_of(three)
    alone = settings(schedule={"peak": 0.02, "decay": decay}).schedule_of(plan(corpus))
    steps = range(1, end + 1)
    assert [rate(named, step) for step in steps] == [rate(alone, step) for step in steps]
    assert {rate(named, end + step) for step in range(after + 1)} == {0.02 * 0.25}
    whole = settings(schedule={"peak": 0.02, "decay": decay}).schedule_of(three)
    assert whole.end == end + after


def test_no_phase_runs_at_rate_0_after_the_end_of_a_decay(corpus: Corpus) -> None:
    tuning = Phase(name="after", tokens=BATCH, weights={"chat": 1.0})
    schedule = {"decay": {"shape": "one_minus_sqrt"}, "end": STABLE + DECAY}
    with pytest.raises(UserError, match="at rate 0") as error:
        settings(schedule=schedule).schedule_of(plan(corpus, WEB, MIXED, tuning))
    assert error.value.field == "train.schedule.decay.final"
    with pytest.raises(UserError, match="where the phases do not"):
        half_life = {"decay": {"half_life": 3.0}, "end": STABLE + DECAY}
        settings(schedule=half_life).schedule_of(plan(corpus, WEB, MIXED, tuning))


@pytest.fixture
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Lets torch say that there is a GPU of a compute capability."""

    def present(major: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (major, 0))

    return present


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_auto_is_fp32_on_the_cpu_and_bf16_is_refused() -> None:
    assert (
        settings().precision,
        settings().resolved_precision,
        settings().fixed()["precision"],
    ) == ("auto", "fp32", "fp32")
    assert device_of("auto") == device_of("cpu") == torch.device("cpu")
    check_possible("auto", "auto")
    check_possible("fp32", "cpu")
    for device in ("auto", "cpu"):
        with pytest.raises(UserError, match="needs a GPU") as error:
            check_possible("bf16", device)
        assert (error.value.field, error.value.allowed) == ("train.precision", ["auto", "fp32"])
    with pytest.raises(UserError, match="no GPU") as error:
        check_possible("auto", "cuda")
    assert (error.value.field, error.value.allowed) == ("train.device", ["auto", "cpu"])


def test_with_a_gpu_auto_is_there_and_in_bf16_where_it_can(
    a_gpu: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    a_gpu(9)
    # what is set already stays, and comes back after the test
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    assert device_of("auto") == device_of("cuda") == torch.device("cuda", 0)
    assert settings().resolved_precision == settings().resolved()["precision"] == "bf16"
    assert (
        settings(device="cpu").resolved_precision
        == settings(precision="fp32").resolved_precision
        == "fp32"
    )
    check_possible("bf16", "auto")
    a_gpu(7)
    assert settings().resolved_precision == "fp32"
    with pytest.raises(UserError, match="compute capability 8"):
        check_possible("bf16", "cuda")


def test_other_half_precisions_are_refused_by_name() -> None:
    for name in ("fp16", "float16", "bfloat16"):
        with pytest.raises(UserError, match=name) as error:
            settings(precision=name)
        assert (error.value.field, error.value.allowed) == (
            "train.precision",
            ["auto", "fp32", "bf16"],
        )


def test_switches_of_torch_come_back_after_a_run() -> None:
    def switches() -> tuple[object, ...]:
        reduced = torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
        return torch.get_default_dtype(), torch.get_float32_matmul_precision(), reduced

    before = switches()
    with computing_in("bf16") as dtype:
        assert dtype == torch.bfloat16
        assert switches() == (torch.float32, "highest", False)
    assert switches() == before


def test_a_warm_up_that_reaches_into_the_decay_is_refused(corpus: Corpus) -> None:
    with pytest.raises(UserError) as error:
        settings(schedule={"peak": 0.1, "warmup": STABLE + 1}).schedule_of(plan(corpus))
    assert error.value.field == "train.schedule.warmup"
