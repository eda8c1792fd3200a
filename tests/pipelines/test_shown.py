"""What comes from outside reaches the terminal and the page without acting or hiding there."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from rich.live import Live
from rich.table import Table

from artifacts.visible_text import visible
from pipelines.commands.options import print_json
from pipelines.commands.terminal.shown import ShownConsole, ShownStream, print_text
from tests.source_trees import tree_of

ACTS = "\x1b]0;owned\x07\x1b[2J\x9b31m"
HIDES = "\u202e\u061c\u200b\u2066\U000e0041"
HOSTILE = f"a{ACTS}{HIDES}z"


def test_a_stream_shows_what_is_written_and_is_the_stream_else() -> None:
    inner = io.StringIO()
    stream = ShownStream(inner)
    print(HOSTILE, "水\tx", file=stream)
    assert stream.write("ab\x1b") == 3
    stream.writelines(["\x9b", "\n"])
    assert inner.getvalue() == f"{visible(HOSTILE)} 水\tx\nab\\u001b\\u009b\n"
    assert not stream.isatty()
    with pytest.raises(TypeError):
        stream.write(b"bytes")  # type: ignore[arg-type]


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("terminal", [False, True])
def test_a_text_that_was_asked_for_is_shown_on_a_terminal_and_exact_elsewhere(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, wrapped: bool
) -> None:
    inner = io.StringIO()
    monkeypatch.setattr(inner, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stdout", ShownStream(inner) if wrapped else inner)
    print_text(f"{HOSTILE}\n水\tx")
    said = visible(HOSTILE) if terminal else HOSTILE
    assert inner.getvalue() == f"{said}\n水\tx\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_a_console_shows_texts_cells_and_titles_and_keeps_its_own_colours(terminal: bool) -> None:
    inner = io.StringIO()
    console = ShownConsole(
        file=inner, force_terminal=terminal, color_system="standard", width=400, markup=False
    )
    table = Table(HOSTILE, title=HOSTILE, style="red")
    table.add_row(HOSTILE)
    console.print(HOSTILE, style="bold")
    console.print(table)
    with Live(table, console=console, transient=True):
        console.print(HOSTILE)
    said = inner.getvalue()
    assert "owned" in said
    for acting in ("\x1b]", "\x07", "\x9b", "\x1b[2J\x9b", *HIDES):
        assert acting not in said
    assert "\x1b[1m" in said


def test_rich_finds_the_stream_itself_behind_the_shown_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inner = io.StringIO()
    monkeypatch.setattr(sys, "stdout", ShownStream(inner))
    ShownConsole(force_terminal=True, color_system="standard").print(HOSTILE, style="bold")
    assert inner.getvalue().startswith("\x1b[1m")
    assert "\x9b" not in inner.getvalue()


def test_commands_have_no_other_console(root: Path) -> None:
    for path in sorted((root / "pipelines").rglob("*.py")):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "Console", f"{path}:{node.lineno}"
                assert node.func.id not in ("echo", "secho"), f"{path}:{node.lineno}"


def windtunnel(root: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from pipelines.launch import main; main()", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONSAFEPATH": "1"},
        check=False,
    )


def clean(said: str) -> None:
    assert said == visible(said)
    assert "\\u001b" in said or "\\x1b" in said  # click shows arguments itself


@pytest.mark.slow
def test_field_names_file_names_keys_and_arguments_reach_the_terminal_shown(
    root: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "x\x1b[31m"
    folder.mkdir()
    (folder / "escapes.jsonl").write_text(json.dumps({HOSTILE: "some words"}) + "\n")
    (folder / "recipe.yaml").write_text(
        f"name: {HOSTILE!a}\ncorpus:\n  sources:\n  - {{name: web, paths: [escapes.jsonl]}}\n"
    )
    for arguments in (
        ("dedup", "run", str(folder / "escapes.jsonl"), "-o", str(tmp_path / "out")),
        ("run", str(folder / "recipe.yaml")),
        ("run", str(folder / "none.yaml")),
        ("run", "x", f"--{ACTS}"),
        (HOSTILE,),
        ("report", HOSTILE),
    ):
        done = windtunnel(root, *arguments, cwd=tmp_path)
        assert "Traceback" not in done.stderr
        said = done.stdout + done.stderr
        clean(said)


@pytest.mark.slow
def test_documents_of_a_hostile_corpus_are_shown_in_progress_explain_and_report_and_exact_in_json(
    root: Path, tmp_path: Path
) -> None:
    words = "These are some words of a document that is kept, and there are enough of them. " * 4
    record = {
        "id": HOSTILE,
        "text": HOSTILE + words,
        "url": f"http://{HOSTILE}",
        "license": HOSTILE,
    }
    lines = [json.dumps(record), '{"text": "' + ACTS.replace("\x1b", "\x1b") + "\x1b"]
    (tmp_path / "web\x1b[1m.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "recipe.yaml").write_text(
        "name: hostile\n"
        "corpus:\n  sources:\n  - {name: web, paths: ['web*.jsonl'], id_field: id}\n"
        "  stages: [newlines]\n"
    )
    done = windtunnel(root, "run", "recipe.yaml", "--workers", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "runs" / "hostile" / "report.html").read_text()
    assert page == visible(page)
    assert "\\u001b" in page
    asked = ("corpus", "explain", f"web:{HOSTILE}", "--run", "hostile")
    clean(windtunnel(root, *asked, cwd=tmp_path).stdout)
    facts = json.loads(windtunnel(root, *asked, "--json", cwd=tmp_path).stdout)
    assert facts["document"]["native_id"] == HOSTILE
    assert facts["document"]["path"] == "web\x1b[1m.jsonl"
    assert facts["excerpt"].startswith(HOSTILE)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_letter_that_a_terminal_lacks_is_its_number(encoding: str, tmp_path: Path) -> None:
    """In JSON too, where that is the same value."""
    said = {"text": "ü水😀 \u202e"}
    code = (
        "from pipelines.commands.terminal.shown import show_streams, ShownConsole; show_streams(); "
        "from pipelines.commands.options import print_json, print_table; "
        f"print_json({said!r}); print_table(('…',), [('😀',)]); ShownConsole(stderr=True).print('水')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    first, *_ = done.stdout.decode(encoding).splitlines()
    assert json.loads(first) == said
    if encoding == "ascii":
        assert b"\\ud83d\\ude00" in done.stdout
        assert done.stderr.strip() == b"\\u6c34"


def test_json_has_no_word_for_a_number_that_is_not_finite(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_json({"a": [1.5, float("nan")], "b": (float("-inf"), {"c": float("inf")}), "d": 1 << 70})
    assert capsys.readouterr().out == (
        '{"a": [1.5, null], "b": [null, {"c": null}], "d": 1180591620717411303424}\n'
    )


def test_every_command_prints_json_in_one_way(root: Path) -> None:
    """But a schema, which is ours, and a plan, whose text is frozen."""
    printed = [
        f"{path.name}: {ast.unparse(node)}"
        for path in (root / "pipelines" / "commands").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
        if "json" in ast.unparse(node) and path.name != "options.py"
    ]
    assert sorted(printed) == [
        "app.py: print(json.dumps(recipe_schema(), indent=1))",
        "mixture.py: print(exact_json(plan.to_json().decode()))",
    ]


LIVE = """
import time
from pipelines.commands.terminal.progress import TerminalProgress
from pipelines.commands.terminal.shown import show_streams
show_streams()
with TerminalProgress() as progress:
    progress.phase("read", 3, 0, 10)
    time.sleep(0.5)
    print("said meanwhile: \\x1b[31m")
"""


def test_a_live_view_moves_in_a_terminal_and_what_is_printed_meanwhile_does_not(root: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(root), "TERM": "xterm-256color"}
    child = subprocess.Popen(
        [sys.executable, "-c", LIVE], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError), open(ours, "rb", buffering=0) as terminal:  # EIO: its end
        while piece := terminal.read(4096):
            seen += piece
    assert child.wait() == 0
    assert b"\x1b[2K" in seen
    assert seen.count(b"\\u001b") == 1, seen[-2000:]
    assert b"said meanwhile: \\u001b[31m" in seen
