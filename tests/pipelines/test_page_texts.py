"""Text of pages against html5lib; shape of pages against the parser's own tree."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resiliparse.parse.html import HTMLTree

from pipelines.readers.pages.extraction import page_text
from pipelines.readers.pages.shape import page_shape
from pipelines.readers.rows.records import RecordRejectedError
from tests.oracles.html_lines import foreign_lines, text_nodes

WORDS = (
    "some words of prose",
    "と",
    "—",
    "où",
    "€5",
    "天气渐渐凉了",
    "a",
    "&amp;",
    "&rsquo;",
    " ",
    "<",
    "1. x",
)
TAGS = [
    "div",
    "p",
    "b",
    "i",
    "a",
    "span",
    "table",
    "tr",
    "td",
    "th",
    "tbody",
    "ul",
    "li",
    "ol",
    "dl",
    "dt",
    "dd",
    "h1",
    "h2",
    "form",
    "button",
    "select",
    "option",
    "svg",
    "math",
    "title",
    "style",
    "script",
    "textarea",
    "template",
    "font",
    "nobr",
    "ruby",
    "rt",
    "section",
    "marquee",
    "object",
    "mi",
    "foreignobject",
    "annotation-xml",
    "br",
    "img",
    "hr",
    "em",
    "u",
    "code",
    "pre",
    "caption",
    "colgroup",
    "col",
    "html",
    "body",
    "head",
    "input",
    "label",
    "fieldset",
    "noscript",
    "iframe",
    "article",
    "main",
]
RAW = {
    "script",
    "style",
    "title",
    "textarea",
    "iframe",
    "noscript",
    "select",
    "option",
    "svg",
    "math",
}


@st.composite
def pieces(draw: st.DrawFn, tags: list[str]) -> str:
    some = draw(st.lists(st.sampled_from(tags), min_size=1, max_size=6))
    end = [f"</{tag}>" for tag in some]
    attributes = ["", " a=1", " b='x>y'", ' class="</div>"', " /"]
    start = [f"<{tag}{attribute}>" for tag in some for attribute in attributes]
    text = [*WORDS, "<!-- </div> -->", "<!x>", "</>"]
    return "".join(draw(st.lists(st.sampled_from([*start, *start, *end, *text]), max_size=80)))


@settings(max_examples=300)
@given(body=pieces([tag for tag in TAGS if tag not in RAW]))
def test_every_line_is_made_of_whole_texts_of_the_page(body: str) -> None:
    page = f"<!doctype html><html><body><p>A first paragraph of prose.</p>{body}</body></html>"
    found = page_text(page.encode())
    assert foreign_lines(found.text, text_nodes(page)) == []


@settings(max_examples=100)
@given(texts=st.lists(st.sampled_from(WORDS[:8]), min_size=1, max_size=30))
def test_nothing_of_plain_paragraphs_is_left_out(texts: list[str]) -> None:
    body = "".join(f"<i>{text}</i>" if number % 2 else text for number, text in enumerate(texts))
    page = f"<html><body><article><p>A first paragraph.</p><p>{body}</p></article></body></html>"
    whole = "".join(text_nodes(page))
    assert "".join(page_text(page.encode()).text.split()) == whole


def test_the_oracle_sees_what_does_not_belong() -> None:
    texts = text_nodes("<p>one <b>two</b> three</p><script>four</script>")
    assert foreign_lines("one two three\none three\n• two", texts) == []
    assert foreign_lines("one tw\nfour", texts) == ["one tw", "four"]


def tree_depth(tree: Any) -> int:
    deepest, waiting = 0, [(tree.document, 0)]
    while waiting:
        node, depth = waiting.pop()
        if node.type == 1:  # an element
            deepest = max(deepest, depth)
        child = node.first_child
        while child is not None:
            waiting.append((child, depth + 1))
            child = child.next
    return deepest


@settings(max_examples=1000)
@given(page=pieces(TAGS))
def test_a_page_is_hardly_ever_deeper_than_its_shape_says(page: str) -> None:
    """What the shape does not follow costs a level here and there, never a multiple."""
    shape = page_shape(page, 100_000)
    assert shape.depth >= 0.7 * tree_depth(HTMLTree.parse(page)) - 2


@pytest.mark.parametrize(
    ("page", "depth"),
    [
        ("<p>x" * 5000, 4),
        ("<p>" + "x<br>" * 5000, 4),
        ("<ul>" + "<li>a<ul><li>b</ul>" * 1000 + "</ul>", 7),
        ("<table>" + "<tr><td>1<td>2<td>3" * 1000, 7),
        ("<dl>" + "<dt>a<dd>b" * 1000, 5),
        ("<b><div>x</b></div>" * 1000, 5),
        ("<p><b>x" * 1000, 8),
        ("<select>" + "<option>x" * 1000, 5),
        ("<a href=1>x" * 1000, 4),
        ("<form><div></form></div>" * 1000, 4),
        ("<!--" + "<div>" * 1000 + "-->", 2),
        ("<script>" + "'<div>'" * 1000 + "</script>", 3),
        ('<div title="' + "<div>" * 1000 + '">x</div>', 4),
    ],
)
def test_unclosed_elements_of_honest_pages_are_not_deep(page: str, depth: int) -> None:
    assert page_shape(page, 100_000).depth == depth
    assert tree_depth(HTMLTree.parse(page)) <= depth


def test_nodes_attributes_and_work_are_counted() -> None:
    shape = page_shape('<div a=1 b="2" c>x<p>y</p></div>', 100)
    assert (shape.nodes, shape.attributes) == (7, 3)
    deep = page_shape("<div>" * 100 + "x" * 1000, 200)
    assert 100 * 1000 < deep.work < 120 * 1500


@settings(max_examples=300)
@given(page=st.text(max_size=200) | st.text(alphabet="<>/!-='\" aps", max_size=200))
def test_any_text_has_a_shape(page: str) -> None:
    shape = page_shape(page, 1000)
    assert 2 <= shape.depth <= 2 + len(page) + 1
    try:
        page_text(page.encode("utf-8", "surrogatepass"))
    except RecordRejectedError as rejection:
        assert rejection.reason  # noqa: PT017
