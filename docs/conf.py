"""How Sphinx makes the documentation site of these pages: strictly, offline, from this checkout.

    make docs        # build/docs/index.html

Pages are Markdown that reads well in the repository too. Python's reference comes from docstrings.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

project = "Windtunnel"
author = "the authors of Windtunnel"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 6
smartquotes = False  # an option is written --runs

html_theme = "furo"
html_title = "Windtunnel"
html_copy_source = False
html_use_index = False
html_domain_indices = False
html_show_sphinx = False
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
highlight_language = "none"  # drawings; blocks of code say their language
pygments_style = "friendly"
pygments_dark_style = "monokai"

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
maximum_signature_line_length = 80
python_maximum_signature_line_length = 80

_PAGE = re.compile(r"\]\(([^)#:\s]+)\.md\)")
_LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)#\s]+)(?:#[^)\s]*)?\)")


def outside_links_named(app: Sphinx, page: str, source: list[str]) -> None:
    """Name the path of what lies in the repository and not in the site, in place of a link."""
    folder = (DOCS / page).parent

    def named(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        if target.is_relative_to(DOCS):
            return link[0]
        path = f"`{target.relative_to(ROOT)}`"
        return path if link[1].strip("`") in path else f"{link[1]} ({path})"

    source[0] = _LINK.sub(named, source[0])


def contents_of_index(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the pages that an index links to into the navigation, under its headings."""
    if Path(page).name != "index":
        return
    listed: set[str] = set()
    trees = []
    for section in re.split(r"^## ", source[0], flags=re.M):
        pages = [one for one in _PAGE.findall(section) if not one.startswith("..")]
        new = [one for one in dict.fromkeys(pages) if one not in listed]
        listed |= set(new)
        if new:
            caption = re.split(r"[:\n]", section, maxsplit=1)[0].strip("# ")
            trees.append(
                "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *new, "```"])
            )
    source[0] = "\n\n".join([source[0], *trees])


def indented_shown_as_written(
    app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]
) -> None:
    """Show indented blocks of a docstring, drawings and code, as they are written."""
    shown: list[str] = []
    inside = False
    for line in lines:
        indented, empty = line.startswith("    "), not line.strip()
        begins = indented and not inside and (not shown or not shown[-1].strip())
        if begins and not _holds_a_block(_before(shown)):
            shown += ["::", ""]
        inside = indented or (inside and empty)
        shown.append(line)
    lines[:] = shown


def _holds_a_block(line: str) -> bool:
    """Whether what is indented after a line is part of it: of a list, an example, a literal."""
    return line.startswith(("- ", ">>> ", ".. ")) or line.endswith("::")


def _before(lines: list[str]) -> str:
    """The last line that is not empty."""
    return next((line for line in reversed(lines) if line.strip()), "")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", outside_links_named)
    app.connect("source-read", contents_of_index)
    app.connect("autodoc-process-docstring", indented_shown_as_written)
