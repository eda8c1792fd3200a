"""Messages that can be followed: a fix that is taken, a place that is right, a mistake said early."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from typer.testing import CliRunner

from artifacts.errors import UserError
from mixtures.spec.phase import PhaseSpec
from pipelines.commands.app import app
from pipelines.commands.plan_changes import change_of
from pipelines.commands.schedule_text import schedule_of, steps_of
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import RunOutcome, run_recipe
from pipelines.training.ahead import check_warmup


def refused(*arguments: object) -> UserError:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(result.exception, UserError), (result.output, result.exception)
    return result.exception


@given(st.lists(st.floats(1e-9, 1), min_size=1, max_size=12))
def test_weights_that_a_refusal_names_are_accepted(weights: list[float]) -> None:
    given = {f"s{place}": weight for place, weight in enumerate(weights)}
    try:
        PhaseSpec(name="p", tokens=10, weights=given)
    except UserError as error:
        if error.fix is None or not error.fix.startswith("weights: "):
            return
        said = YAML(typ="safe").load(error.fix.partition(" has the same")[0])["weights"]
        assert set(said) == set(given)
        PhaseSpec(name="p", tokens=10, weights=said)


def test_three_thirds() -> None:
    with pytest.raises(UserError) as caught:
        PhaseSpec(name="p", tokens=10, weights=dict.fromkeys("abc", 0.3333))
    said = str(caught.value.fix)
    shares = [Fraction(part.split(": ")[1]) for part in said[10 : said.index("}")].split(", ")]
    assert sum(shares) == 1


def test_a_batch_of_a_phase_is_refused_at_the_phase(
    tiny: tuple[Path, RunOutcome], root: Path, tmp_path: Path
) -> None:
    error = refused(
        "mixture", "plan", root / "recipes" / "tiny.yaml", "--runs", tiny[0].parent,
        "--set", "mixture.phases.1.batch_tokens=1000",
    )  # fmt: skip
    assert error.field == "mixture.phases.decay.batch_tokens"


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ("{kind: wsp}", "kind"),
        ("{peak: -1}", "peak"),
        ("{warm_up: 3}", "warm_up"),
        ("{warmup: 20, decay_start: 10}", None),
        ("{", "SPEC"),
        ("wsd", "SPEC"),
    ],
)
def test_a_bad_schedule_names_its_field_and_what_is_allowed(spec: str, field: str | None) -> None:
    with pytest.raises(UserError) as caught:
        schedule_of(spec)
    assert field is None or str(caught.value.field) == field
    assert caught.value.fix is not None
    assert "validation error" not in str(caught.value)


@pytest.mark.parametrize("steps", ["1,x", "", "1.5", "²", "--1"])
def test_steps_are_whole_numbers(steps: str) -> None:
    with pytest.raises(UserError, match="not a step"):
        steps_of(steps)


def test_a_rank_beyond_the_batch_is_refused(tiny: tuple[Path, RunOutcome]) -> None:
    error = refused(
        "mixture", "trace", tiny[0], "--step", "1", "--rank", "40", "--world-size", "64"
    )
    assert error.allowed == ["1 to 8, the windows of this step's batch"]


def test_a_branch_that_is_not_there_is_refused(tiny: tuple[Path, RunOutcome]) -> None:
    error = refused("mixture", "check", tiny[0], "--branch", "nope")
    assert error.allowed == ["without-instructions"]
    done = CliRunner().invoke(
        app, ["mixture", "check", str(tiny[0]), "--branch", "without-instructions"]
    )
    assert done.exit_code == 0, done.output


def test_a_source_is_weighed_once() -> None:
    with pytest.raises(UserError, match="given twice"):
        change_of((), (), ("web=0.1", "web=0.2"), None, None)
    with pytest.raises(UserError, match="given twice"):
        change_of(("a=5", "a=6"), (), (), None, None)


@pytest.mark.parametrize("until", ["corpus", "train"])
@pytest.mark.parametrize(
    ("kind", "most"), [("wsd", 20), ("cosine", 24), ("cosine_loop", 24), ("constant", 25)]
)
def test_a_warmup_longer_than_the_run_is_refused_before_anything_is_read(
    root: Path, tmp_path: Path, until: str, kind: str, most: int
) -> None:
    said = [f"train.schedule.kind={kind}", f"train.schedule.warmup={most + 1}", "branches=[]"]
    loaded = load_recipe(root / "recipes" / "tiny.yaml", said)
    with pytest.raises(UserError, match="warm-up is longer") as caught:
        run_recipe(loaded, str(tmp_path), until=until)
    assert caught.value.field == "train.schedule.warmup"
    assert caught.value.allowed == [f"up to {most} steps"]
    assert not list(tmp_path.iterdir())
    said[1] = f"train.schedule.warmup={most}"
    check_warmup(load_recipe(root / "recipes" / "tiny.yaml", said))


@pytest.mark.parametrize("kind", ["cosine", "cosine_loop"])
def test_branches_of_a_schedule_without_a_stable_stage_are_refused_before_anything_is_read(
    root: Path, tmp_path: Path, kind: str, tiny: tuple[Path, RunOutcome]
) -> None:
    said = f"train.schedule.kind={kind}"
    loaded = load_recipe(root / "recipes" / "tiny.yaml", [said])
    with pytest.raises(UserError, match="stable stage") as caught:
        run_recipe(loaded, str(tmp_path))
    assert (caught.value.field, caught.value.found) == ("train.schedule.kind", kind)
    assert not list(tmp_path.iterdir())
    folder = tiny[0].parent
    error = refused(
        "mixture", "plan", root / "recipes" / "tiny.yaml", "--runs", folder, "--set", said
    )
    assert error.field == "train.schedule.kind"
