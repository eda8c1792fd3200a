"""The documentation site: built strictly and offline, whole, and without a byte from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

import windtunnel
from artifacts.floors import FLOORS

ROOT = Path(__file__).resolve().parent.parent
LOADED = {
    "script": ("src",),
    "link": ("href",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "embed": ("src",),
    "object": ("data",),
    "use": ("href",),
    "video": ("src", "poster"),
    "audio": ("src",),
    "form": ("action",),
}
"""Attributes whose addresses a browser asks for by itself, or sends what is typed to."""

pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """What a page links to, what it loads, the places in it, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.places: set[str] = set()
        self.inline: list[str] = []
        self._within = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._within = tag
        for name, value in attributes:
            if name == "id" and value:
                self.places.add(value)
            elif name == "style" and value:
                self.inline.append(value)
            elif tag == "a" and name == "href" and value:
                self.links.append(value)
            elif name in LOADED.get(tag, ()) and value:
                self.loads += (
                    [part.split()[0] for part in value.split(",")] if name == "srcset" else [value]
                )

    def handle_data(self, data: str) -> None:
        if self._within == "style":
            self.inline.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as ``make docs`` builds it."""
    built = tmp_path_factory.mktemp("site")
    recipe = re.search(r"^docs:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), flags=re.M)
    assert recipe is not None
    words = recipe[1].split()
    options = words[words.index("sphinx") + 1 : words.index("docs")]
    assert {"--fail-on-warning", "--keep-going"} <= set(options)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            *options,
            "-d",
            built / "doctrees",
            "docs",
            built / "html",
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return built / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    return {
        str(path.relative_to(site)): Page(path.read_text(encoding="utf-8"))
        for path in sorted(site.rglob("*.html"))
    }


def followed(page: str, link: str) -> tuple[str, str]:
    """The page and the place in it that a link of a page leads to."""
    target, place = urldefrag(link)
    path = os.path.normpath(os.path.join(os.path.dirname(page), unquote(target)))
    return (path if target else page), unquote(place)


def inner_links(pages: dict[str, Page]) -> Iterator[tuple[str, str, str]]:
    """(page, page that it links to, place in that)."""
    for name, page in pages.items():
        for link in page.links:
            if not urlsplit(link).scheme:
                yield name, *followed(name, link)


@pytest.mark.parametrize("name", windtunnel.__all__)
def test_every_public_name_has_a_page_with_signature_docstring_and_example(
    name: str, site: Path, pages: dict[str, Page]
) -> None:
    page = f"api/{name}.html"
    assert f"windtunnel.{name}" in pages[page].places
    text = (site / page).read_text(encoding="utf-8")
    signature, shown = text.split(f'id="windtunnel.{name}"', 1)[1].split("</dt>", 1)
    assert 'class="sig-paren"' in signature or name == "Plan"  # a plan is read, not made
    first = " ".join((getattr(windtunnel, name).__doc__ or "").split()[:4])
    assert first.rstrip(".:,") in " ".join(unescape(re.sub(r"<[^>]+>", "", shown)).split())
    assert "highlight-python" in text.split(f'id="windtunnel.{name}"', 1)[0]


def test_every_package_is_on_the_page_of_its_floor(pages: dict[str, Page]) -> None:
    for floor in FLOORS:
        for path in sorted((ROOT / floor).rglob("__init__.py")):
            package = ".".join(path.parent.relative_to(ROOT).parts)
            assert f"module-{package}" in pages[f"api/floors/{floor}.html"].places, package


def test_every_page_can_be_reached_from_the_index(pages: dict[str, Page]) -> None:
    to: dict[str, set[str]] = {}
    for page, target, _ in inner_links(pages):
        to.setdefault(page, set()).add(target)
    reached, ways = {"index.html"}, ["index.html"]
    while ways:
        new = to.get(ways.pop(), set()) & set(pages) - reached
        reached |= new
        ways += new
    sources = {
        str(path.relative_to(ROOT / "docs").with_suffix(".html"))
        for path in (ROOT / "docs").rglob("*.md")
    }
    assert sources <= reached
    assert set(pages) - reached <= {"search.html"}  # the form leads there


def test_every_link_inside_leads_to_a_place_that_is_there(
    site: Path, pages: dict[str, Page]
) -> None:
    seen = 0
    for page, target, place in inner_links(pages):
        if target not in pages:
            assert (site / target).is_file(), f"{page}: {target}"
        elif place:
            seen += 1
            assert place in pages[target].places, f"{page}: {target}#{place}"
    assert seen > 500


def test_a_browser_asks_no_other_host_for_anything(site: Path, pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        for address in page.loads:
            parts = urlsplit(address)
            assert parts.scheme in ("", "data"), f"{name}: {address}"
            assert not parts.netloc, f"{name}: {address}"
        for style in page.inline:
            assert "url(" not in style.replace("url(data:", ""), name
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        for address in re.findall(r"url\(\s*['\"]?([^'\")]+)", text):
            assert not urlsplit(address).netloc, f"{path.name}: {address}"
        assert not re.search(r"@import\s+(?:url\()?['\"]?(?:https?:)?//", text), path.name
        assert "@font-face" not in text, path.name
    for path in site.rglob("*.js"):
        text = path.read_text(encoding="utf-8", errors="replace")
        assert not re.search(r"""(?:src|href)\s*=\s*["'`](?:https?:)?//""", text), path.name
