"""Every command of every tutorial runs as the page has it, and prints what the page shows."""

from __future__ import annotations

import json
import os
import select
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from tests.tutorial_pages import Block, blocks_of, carry_out

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
PORTS = {"cluster-and-s3": ("5000", "8786")}


def free_port() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


@pytest.fixture(scope="module", params=PAGES, ids=[page.stem for page in PAGES])
def done(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, list[tuple[Block, str]]]:
    """A page's name, the folder in which it was carried out, and its blocks with what each
    printed.
    """
    page: Path = request.param
    folder = tmp_path_factory.mktemp(page.stem) / "reader"
    folder.mkdir()
    blocks = blocks_of(page.read_text(encoding="utf-8"))
    ports = {f":{port}": f":{free_port()}" for port in PORTS.get(page.stem, ())}
    ports |= {f"--port {old[1:]}": f"--port {new[1:]}" for old, new in ports.items()}
    return page.stem, folder, list(zip(blocks, carry_out(blocks, folder, ports), strict=True))


@pytest.mark.slow
def test_the_page_runs_and_prints_what_it_shows(
    done: tuple[str, Path, list[tuple[Block, str]]],
) -> None:
    _, _, blocks = done
    assert len(blocks) > 3
    for block, printed in blocks:
        assert block.agrees(printed), f"{block.text}\nshown:\n{block.shown}\nprinted:\n{printed}"
        assert "Traceback" not in printed, printed


@pytest.mark.slow
def test_the_page_leaves_a_report_of_every_local_run(
    done: tuple[str, Path, list[tuple[Block, str]]],
) -> None:
    _, folder, _ = done
    runs = [path.parent for path in folder.glob("*/*/run.json")]
    assert runs
    for run in runs:
        assert (run / "report.html").stat().st_size > 10_000
        assert json.loads((run / "run.json").read_text())["reached"]


def test_what_is_shown_is_held_to_what_is_printed() -> None:
    (block,) = blocks_of("```sh\nls\n```\n\n```text\na  1\n...\nb ... s\n```\n")
    assert block.agrees("a 1\n\nx\ny\nb 2.5 s\n")
    assert block.agrees("a 1\nb 3 s\n")
    assert not block.agrees("a 2\nb 3 s\n")
    assert not block.agrees("a 1\nb 3 s\nc\n")
    assert blocks_of("```sh\nls\n```\n")[0].agrees("anything")


def test_a_block_that_fails_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    blocks = blocks_of("```sh\necho one\n```\n```python\nprint('two')\n```\n```sh\nfalse\n```\n")
    assert carry_out(blocks[:2], folder) == ["one\n", "two\n"]
    with pytest.raises(AssertionError, match="exit code 1 in block 2"):
        carry_out(blocks, folder)


def test_what_a_page_starts_is_ended_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    (printed,) = carry_out(blocks_of("```sh\nsleep 600 > /dev/null 2>&1 &\necho $!\n```\n"), folder)
    with suppress(ProcessLookupError):
        ended, _, _ = select.select([os.pidfd_open(int(printed))], [], [], 60)
        assert ended
