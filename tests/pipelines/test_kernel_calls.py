"""The list of kernels' calls is complete, and what is compiled is said, once, while it is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from artifacts.jit import compilations, kernel_sources
from pipelines.commands.kernel_calls import (
    CALLS,
    KernelCall,
    fitting,
    house_kernels,
    known_calls,
    recorded_calls,
    spelled,
    type_of,
)
from pipelines.commands.terminal.compiling import KernelWatch

COMMAND = "import sys; from pipelines.launch import main; sys.argv = ['windtunnel', *sys.argv[1:]]; main()"
SAID = "compiling kernels"


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


def test_the_list_holds_every_kernel_of_the_house() -> None:
    decorated = sum(
        len(re.findall("^@kernel$", path.read_text(), flags=re.M)) for path in kernel_sources()
    )
    assert len(house_kernels()) == decorated > 150
    assert {call.kernel for call in known_calls()} == set(house_kernels())
    assert len(known_calls()) == len(CALLS.read_text().splitlines())


def test_a_file_counts_as_a_kernels_source_only_where_it_compiles_one() -> None:
    """Each is part of the cache folder's name, so a change of any other would empty the cache."""
    assert [path for path in kernel_sources() if "\n@kernel\n" not in path.read_text()] == []


def test_every_call_of_the_list_fits_its_kernel() -> None:
    assert fitting(known_calls()) == sorted(known_calls())
    gone = KernelCall("dedup.words.no_such_kernel", ("int64",))
    short = known_calls()[0]._replace(arguments=())
    assert fitting([gone, short]) == []


@pytest.mark.parametrize("text", sorted({one for call in known_calls() for one in call.arguments}))
def test_a_type_is_spelled_as_it_is_read(text: str) -> None:
    assert spelled(type_of(text)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "int64"),
        (np.uint32(1), "uint32"),
        (True, "bool"),
        (np.zeros(4, np.uint8), "uint8[::1]"),
        (read_only(np.zeros(4, np.int16)), "const int16[::1]"),
        (np.zeros((4, 2), np.float32), "float32[:,::1]"),
        (np.zeros(4, bool)[::2], "bool[:]"),
    ],
)
def test_a_type_is_that_of_the_values_a_kernel_is_given(value: object, text: str) -> None:
    assert spelled(numba.typeof(value)) == text
    assert type_of(text) == numba.typeof(value)


def test_what_was_compiled_is_recorded() -> None:
    """A call that is on the list is found in the cache once it was made."""
    from artifacts.jit import start

    start()
    assert KernelCall("artifacts.jit._nothing", ("int64",)) in recorded_calls()


def test_a_compilation_of_this_process_is_seen_and_said_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @numba.njit
    def more(value: int) -> int:
        return value + 1

    with KernelWatch() as watch:
        assert not watch.compiling()
        before = compilations()
        assert more(1) == 2
        assert compilations() == before + 1
        assert more(2) == 3
        assert compilations() == before + 1
        assert watch.compiling()
        for thread in threading.enumerate():
            if thread.name == "kernels":
                thread.join(20)
    assert capsys.readouterr().err.count(SAID) == 1
    with KernelWatch() as later:
        assert not later.compiling()


def windtunnel(
    folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_after_all_were_compiled_a_run_compiles_none(tmp_path: Path) -> None:
    first = json.loads(windtunnel(tmp_path, "doctor", "--compile", "--json").stdout)[-1]
    assert first["what"] == "kernels"
    windtunnel(tmp_path, "init", "project", "--train")
    recipe = "project/recipe.yaml"
    for call in (
        ("run", recipe, "--until", "shards", "--workers", "2"),
        ("train", recipe, "--until-step", "1"),
        ("dedup", "index", "add", "index", "project/data/web.jsonl", "-o", "added"),
        ("doctor", "--compile"),
    ):
        done = windtunnel(tmp_path, *call)
        assert SAID not in done.stderr, call
    assert f"{len(known_calls())} were there" in done.stdout


@pytest.mark.slow
def test_a_first_run_says_once_that_its_processes_compile(tmp_path: Path) -> None:
    cache = str(tmp_path / "kernels")
    windtunnel(tmp_path, "init", "project")
    call = ("run", "project/recipe.yaml", "--until", "read", "--workers", "2")
    said = windtunnel(tmp_path, *call, WINDTUNNEL_KERNEL_CACHE=cache).stderr
    assert said.count(f"{SAID}, once") == 1
    again = (*call, "--set", "name=again")
    assert SAID not in windtunnel(tmp_path, *again, WINDTUNNEL_KERNEL_CACHE=cache).stderr


@pytest.mark.slow
def test_where_no_kernel_can_be_kept_it_says_so(tmp_path: Path) -> None:
    cache = tmp_path / "kernels"
    cache.write_text("a file, not a folder")
    windtunnel(tmp_path, "init", "project")
    call = ("run", "project/recipe.yaml", "--until", "read", "--workers", "1")
    said = windtunnel(tmp_path, *call, WINDTUNNEL_KERNEL_CACHE=str(cache)).stderr
    assert said.count(f"{SAID} in memory, in each process anew: windtunnel doctor says why") == 1
