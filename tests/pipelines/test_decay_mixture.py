"""Files that say what a decay shows and not how long it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifacts.errors import UserError
from pipelines.recipe.decay_mixture import load_decay


def written(folder: Path, text: str) -> Path:
    (folder / "a.yaml").write_text(text)
    return folder / "a.yaml"


@pytest.mark.parametrize(
    "text",
    [
        "weights: {web: 0.6, sft: 0.4}\nmax_epochs: {sft: 4}\n",
        "phases:\n  - {weights: {web: 0.6, sft: 0.4}, max_epochs: {sft: 4}}\n",
        "phases: [{name: decay, decay: true, weights: {web: 0.6, sft: 0.4}, max_epochs: {sft: 4}}]\n",
    ],
)
def test_weights_alone_are_a_decay_of_the_length_given(tmp_path: Path, text: str) -> None:
    (phase,) = load_decay(written(tmp_path, text), 1000).phases
    assert (phase.name, phase.decay, phase.tokens) == ("decay", True, 1000)
    assert (phase.weights, phase.max_epochs) == ({"web": 0.6, "sft": 0.4}, {"sft": 4})


@pytest.mark.parametrize(
    ("text", "said", "field", "line"),
    [
        ("weights: {web: 1}\ntokens: 5\n", "said twice", "tokens", 2),
        ("phases:\n  - {weights: {web: 1}, percent: 10}\n", "said twice", "phases[0].percent", 2),
        ("phases: [{weights: {web: 1}}, {weights: {web: 1}}]\n", "for one phase", "phases", 1),
        ("phases: 3\n", "for one phase", "phases", 1),
        ("weights: {web: 1}\ndecay: false\n", "is to be a decay", "decay", 2),
        ("# no\nweights: {web: 0.5}\n", "sum to 1", "weights", 2),
        ("# no\nweigths: {web: 1}\n", "unknown field", "weigths", 2),
        ("weights: {web: 1}\nmax_epochs: {sft: 2}\n", "has no weight here", "max_epochs", 2),
        ("phases:\n  - {weights: {web: 2}}\n", "less than or equal", "phases[0].weights.web", 2),
    ],
)
def test_a_mistake_is_named_with_its_line(
    tmp_path: Path, text: str, said: str, field: str, line: int
) -> None:
    with pytest.raises(UserError, match=said) as refused:
        load_decay(written(tmp_path, text), 1000)
    error = refused.value
    assert (error.field, error.line, Path(str(error.file)).name) == (field, line, "a.yaml")


def test_what_planning_says_of_the_phase_is_said_of_the_file(tmp_path: Path) -> None:
    flat = load_decay(written(tmp_path, "# a\nweights:\n  web: 1\n"), 1000)
    error = UserError("no", field=("mixture", "phases", "decay", "weights", "web"))
    moved = error.relocated(flat.place)
    assert (moved.field, moved.line) == ("weights.web", 3)
    other = UserError("no", field=("mixture", "max_repetitions")).relocated(flat.place)
    assert (other.field, other.file) == ("mixture.max_repetitions", None)
