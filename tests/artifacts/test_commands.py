"""Commands that texts speak of: what a user copies is what was meant."""

from __future__ import annotations

import pickle
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.commands import Command
from artifacts.visible_text import on_one_line

HOSTILE = [
    "my RUN",
    "it's",
    'a"b',
    "RECIPE",
    "$(id)",
    "a\nb",
    "a\tRUN b",
    "❤️",
    "-r.yaml",
    "\\'\u202e",
    "",
]


def read_by_bash(text: str) -> list[str]:
    """The words that a shell makes of a command."""
    code = f"for word in {text}; do printf '%s\\0' \"$word\"; done"
    done = subprocess.run(
        ["bash", "-c", code], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_shell_reads_what_was_filled_in(value: str) -> None:
    told = Command("mixture edit RUN --at STEP", RUN=value, STEP=3)
    meant = f"./{value}" if value.startswith("-") else value
    assert read_by_bash(told) == ["windtunnel", "mixture", "edit", meant, "--at", "3"]
    assert on_one_line(told) == told  # a terminal shows it as it is


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
ODD = st.text("RUN ID'\"\n\\")


@given(TEXTS | ODD, TEXTS | ODD)
def test_what_was_filled_in_is_not_filled_in_again(run: str, name: str) -> None:
    told = Command("corpus explain ID --run RUN", RUN=run)
    assert told.blanks == ("ID",)
    again = told.filled({"RUN": name, "ID": name})
    assert again == Command("corpus explain ID --run RUN", RUN=run, ID=name)
    assert again.blanks == ()
    assert pickle.loads(pickle.dumps(again)) == again
