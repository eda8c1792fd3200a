"""The two pictures of the README: a terminal, and the report of the run that it shows.

    PYTHONPATH=. python docs/pictures/make.py

Runs the starter that ``windtunnel init --train`` writes, in a real terminal (tmux), and takes what
its screen holds at the end as SVG; renders the run's report in headless Chromium as PNG. Needs
``tmux`` and ``chromium`` on the path, and takes about two minutes. Writes
``docs/pictures/terminal.svg`` and ``docs/pictures/report.png``.
"""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

HERE = Path(__file__).resolve().parent
COLUMNS, ROWS = 130, 40
REPORT_SIZE = (1280, 1500)
SESSION = "windtunnel-pictures"
LONGEST_SECONDS = 300
FONT_FACES = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # they would be fetched from a host
COMMANDS = ("windtunnel init project --train", "windtunnel run project/recipe.yaml")
PROMPT = "$ "


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        screen = screen_after(Path(folder)).replace(folder, "~")
        (HERE / "terminal.svg").write_text(svg(screen), encoding="utf-8")
        photograph(Path(folder) / "runs" / "starter" / "report.html", HERE / "report.png")


def screen_after(folder: Path) -> str:
    """What the terminal shows once the commands have run in ``folder``, with its colours."""
    tmux = ["tmux", "-L", SESSION]
    start = [*tmux, "new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), "-c", str(folder)]
    subprocess.run([*start, f"PS1='{PROMPT}' bash --norc"], check=True)
    path = f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; clear"
    try:
        _answered(tmux)
        for line in (path, *COMMANDS):
            subprocess.run([*tmux, "send-keys", line, "Enter"], check=True)
            lines = _answered(tmux)
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)
    first = next(place for place, line in enumerate(lines) if COMMANDS[0] in line)
    return "\n".join(lines[first:-1])


def _answered(tmux: list[str]) -> list[str]:
    """The lines of the screen and of what has scrolled off it, once there is a new prompt."""
    capture = [*tmux, "capture-pane", "-e", "-p", "-S", "-200"]
    deadline = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < deadline:
        time.sleep(1)
        screen = subprocess.run(capture, check=True, capture_output=True, text=True).stdout
        lines = screen.rstrip("\n").splitlines()
        if lines and Text.from_ansi(lines[-1]).plain.strip() == PROMPT.strip():
            return lines
    raise SystemExit(f"a command took longer than {LONGEST_SECONDS} s")


def svg(screen: str) -> str:
    """A picture of a screen, with no font but the reader's own."""
    lines = screen.count("\n") + 1
    console = Console(record=True, width=COLUMNS, height=lines, file=io.StringIO())
    console.print(Text.from_ansi(screen), soft_wrap=True)
    drawn = console.export_svg(title="windtunnel", theme=DIMMED_MONOKAI, unique_id="windtunnel")
    return FONT_FACES.sub("", drawn).replace("Fira Code", "ui-monospace")


def photograph(page: Path, picture: Path) -> None:
    """The upper part of a page as a browser shows it."""
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--no-first-run",
                f"--user-data-dir={profile}",
                "--hide-scrollbars",
                f"--window-size={REPORT_SIZE[0]},{REPORT_SIZE[1]}",
                f"--screenshot={picture}",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
        )


if __name__ == "__main__":
    main()
