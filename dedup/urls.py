"""URLs in one normal form, so that spellings of one address are equal.

The form is RFC 3986's: syntax-based (section 6.2.2: lower-case scheme and host, upper-case
percent-encodings, unreserved characters decoded, dot segments removed) and scheme-based (6.2.3: no
default or empty port, ``/`` for an empty path); characters beyond ASCII are percent-encoded as
UTF-8 (RFC 3987, 3.1). Two further steps, usual with crawlers: the fragment goes (a part of the same
document), and so do query parameters that say where a visitor came from (:data:`TRACKING`), with a
query that they alone made up. Everything else counts: ``http`` or ``https``, ``www.``, a slash at
the end, the order of parameters.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

import numpy as np
import pyarrow as pa
import xxhash

from artifacts.ids import binary16

ALGORITHM = "url/1 rfc3986"

TRACKING = frozenset(
    (
        "gclid",
        "dclid",
        "gbraid",
        "wbraid",
        "fbclid",
        "msclkid",
        "yclid",
        "igshid",
        "mc_cid",
        "mc_eid",
        "twclid",
        "ttclid",
        "_ga",
        "_gl",
    )
)
TRACKING_PREFIX = "utm_"

_DEFAULT_PORTS = {"http": "80", "https": "443", "ftp": "21"}
_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
_NOT_ASCII = re.compile(r"[^\x21-\x7e]+")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def normal_url(url: str) -> str:
    """The normal form of a URL; of something that is none the text itself without spaces around
    it.
    """
    text = url.strip()
    try:
        parts = urlsplit(text)
        host, port = (
            parts.hostname or "",
            parts.netloc.rpartition("@")[2].rpartition("]")[2].rpartition(":"),
        )
    except ValueError:  # brackets that hold no address
        return text
    if not parts.scheme or not host:
        return text
    user = parts.netloc.rpartition("@")[0]
    named = f"[{host}]" if ":" in host else _encoded(host.rstrip(".").lower())
    place = f"{user}@{named}" if user else named
    if port[1] and port[2] and port[2] != _DEFAULT_PORTS.get(parts.scheme):
        place += f":{port[2]}"
    path = _without_dots(_encoded(parts.path)) or "/"
    query = (
        "&".join(_encoded(pair) for pair in parts.query.split("&") if not _tracks(pair))
        if parts.query
        else ""
    )
    return f"{parts.scheme}://{place}{path}" + (f"?{query}" if query else "")


def url_hashes(urls: pa.StringArray) -> pa.FixedSizeBinaryArray:
    """xxh3_128 of each URL's normal form, (n,) of 16 bytes; null for documents without a URL or
    with an empty one.
    """
    values = urls.to_pylist()
    missing = np.array([not value or not value.strip() for value in values], bool)
    digest = xxhash.xxh3_128_digest
    raw = b"".join(
        [
            bytes(16) if gone else digest(normal_url(value).encode())
            for value, gone in zip(values, missing, strict=True)
        ]
    )
    bits = pa.array(~missing).buffers()[1]
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(16), len(values), [bits, binary16(raw).buffers()[1]]
    )


def _tracks(pair: str) -> bool:
    name = pair.partition("=")[0].lower()
    return name.startswith(TRACKING_PREFIX) or name in TRACKING


def _encoded(text: str) -> str:
    """Percent-encodings in their one form."""

    def one(found: re.Match[str]) -> str:
        character = chr(int(found[1], 16))
        return character if character in _UNRESERVED else f"%{found[1].upper()}"

    return _ENCODED.sub(one, _NOT_ASCII.sub(lambda found: quote(found[0], safe=""), text))


def _without_dots(path: str) -> str:
    """The algorithm of RFC 3986, section 5.2.4, for a path that is empty or begins with a slash."""
    out: list[str] = []
    segments = path.split("/")[1:]
    for place, segment in enumerate(segments):
        last = place == len(segments) - 1
        if segment == "..":
            if out:
                out.pop()
        elif segment != ".":
            out.append(segment)
            continue
        if last:
            out.append("")
    return "/" + "/".join(out) if path else ""
