from __future__ import annotations

import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.urls import normal_url, url_hashes

SAME = [  # RFC 3986, 6.2.2, 6.2.3 and 6.2.4, and crawlers' usage
    (
        "http://example.com",
        "HTTP://EXAMPLE.com:80/",
        "http://example.com:/",
        "http://example.com.",
        "http://example.com/#top",
    ),
    ("example://a/b/c/%7Bfoo%7D", "eXAMPLE://a/./b/../b/%63/%7bfoo%7d"),
    ("https://user:pass@example.com/a?b=%2f", "https://user:pass@EXAMPLE.com:443/a?b=%2F"),
    ("http://example.com/caf%C3%A9", "http://example.com/café", "http://example.com/caf%c3%a9"),
    (
        "http://example.com/a?id=7",
        "http://example.com/a?id=7&utm_source=x&UTM_medium=y",
        "http://example.com/a?fbclid=1&id=7",
    ),
    (
        "http://example.com/a",
        "http://example.com/a?utm_source=x",
        "http://example.com/a?",
        " http://example.com/a\n",
    ),
    ("http://[2001:db8::1]/", "http://[2001:DB8::1]:80"),
    ("http://example.com/~smith/", "http://example.com/%7Esmith/"),
]
DIFFERENT = [
    "http://example.com/a", "https://example.com/a", "http://www.example.com/a",
    "http://example.com/a/", "http://example.com/A", "http://example.com:8080/a",
    "http://example.com/a?x=1&y=2", "http://example.com/a?y=2&x=1", "http://example.com/a%2Fb",
    "http://example.com/a/b", "http://example.com//a", "not a url", "mailto:a@b.c", "/a",
    "http://[broken/a", "http://example.com/a?utm=1",
]  # fmt: skip


@pytest.mark.parametrize("urls", SAME)
def test_spellings_of_one_address_are_equal(urls: tuple[str, ...]) -> None:
    assert {normal_url(url) for url in urls} == {normal_url(urls[0])}
    assert len({value.as_py() for value in url_hashes(pa.array(urls))}) == 1


def test_different_addresses_stay_different() -> None:
    assert len({normal_url(url) for url in DIFFERENT}) == len(DIFFERENT)


def without_dots(path: str) -> str:
    """RFC 3986, section 5.2.4, step by step."""
    out = ""
    while path:
        if path.startswith("../"):
            path = path[3:]
        elif path.startswith(("./", "/./")):
            path = path[2:]
        elif path == "/.":
            path = "/"
        elif path.startswith("/../"):
            path, out = path[3:], out[: max(out.rfind("/"), 0)]
        elif path == "/..":
            path, out = "/", out[: max(out.rfind("/"), 0)]
        elif path in (".", ".."):
            path = ""
        else:
            segment = re.match(r"/?[^/]*", path)[0]  # type: ignore[index]
            path, out = path[len(segment) :], out + segment
    return out


@given(st.text(st.sampled_from("/.a"), max_size=14))
@settings(max_examples=500, deadline=None)
def test_dot_segments_go_as_the_rfc_says(path: str) -> None:
    assert normal_url(f"http://h/{path}") == f"http://h{without_dots('/' + path)}"


@given(
    st.text(st.sampled_from("htp:/?#%aA.2F@[]&=é \n"), max_size=30).map(
        lambda text: f"http://h{text}"
    )
)
@settings(max_examples=500, deadline=None)
def test_the_normal_form_of_a_normal_form_is_itself(url: str) -> None:
    normal = normal_url(url)
    assert normal_url(normal) == normal


def test_documents_without_a_url_have_no_hash() -> None:
    urls = pa.array([None, "", "  ", "http://example.com", "x"], pa.string())
    assert [value.as_py() is None for value in url_hashes(urls)] == [True, True, True, False, False]
    assert url_hashes(urls.slice(3)).null_count == 0
    assert len(url_hashes(pa.array([], pa.string()))) == 0
