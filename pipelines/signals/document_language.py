"""The language of a document: what was identified, else what its record or its source says.

Records write languages in many ways: ``en``, ``eng``, ``en-US``, ``zh_Hans``, ``cmn``, ``English``.
All become one code each, macrolanguages in place of their members. What names no language (``und``,
``mul``, ``mis``, ``zxx``, other words) leaves the language unknown.
"""

from __future__ import annotations

import re
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.signals.language_names import LANGUAGES, macrolanguage

_LONG_CODE = re.compile(r"[a-z]{3}")
_NO_LANGUAGE = frozenset({"und", "mul", "mis", "zxx", "unk"})
_LONGEST_TAG = 64

_LONG_CODES = """
afr af, amh am, arg an, ara ar, arb ar, asm as, aze az, azj az, bak ba, bel be, bul bg, ben bn,
bre br, bos bs, cat ca, ces cs, cze cs, cym cy, wel cy, dan da, deu de, ger de, dzo dz, ell el,
gre el, eng en, epo eo, spa es, est et, ekk et, eus eu, baq eu, fas fa, per fa, pes fa, fin fi,
fao fo, fra fr, fre fr, fry fy, gle ga, gla gd, glg gl, guj gu, hau ha, heb he, iw he, hin hi,
hrv hr, hat ht, hun hu, hye hy, arm hy, ind id, in id, ibo ig, isl is, ice is, ita it, jpn ja,
jav jv, kat ka, geo ka, kaz kk, khm km, kan kn, kor ko, kur ku, kmr ku, ckb ku, kir ky, lat la,
ltz lb, lug lg, lin ln, lao lo, lit lt, lav lv, lvs lv, mlg mg, plt mg, mkd mk, mac mk, mal ml,
mon mn, khk mn, mar mr, msa ms, may ms, zsm ms, mlt mt, mya my, bur my, nep ne, npi ne, nld nl,
dut nl, nno nn, nor no, nob no, nb no, oci oc, orm om, ori or, ory or, pan pa, pol pl, pus ps,
por pt, que qu, ron ro, rum ro, rus ru, kin rw, san sa, sme se, sin si, slk sk, slo sk, slv sl,
sna sn, som so, sqi sq, alb sq, als sq, srp sr, sot st, swe sv, swa sw, swh sw, tam ta, tel te,
tgk tg, tha th, tuk tk, tgl tl, fil tl, tur tr, tat tt, uig ug, ukr uk, urd ur, uzb uz, uzn uz,
vie vi, vol vo, wln wa, xho xh, yor yo, zho zh, chi zh, cmn zh, gan zh, hak zh, hsn zh, lzh zh,
nan zh, zul zu
"""
_SHORT_CODES = """
aa ab ae ak av ay bi bm ce ch co cr cu cv dv ee ff gn gv ho hz ia ie ii ik io iu kg ki kj kl kr
ks kv kw li lu mh mi na nd ng nr nv ny oj os pi rm rn sc sd sg sm ss su ti tn to ts tw ty ve wo
yi za
"""
_OTHER_SHORT_CODES = frozenset(_SHORT_CODES.split())
"""Codes of ISO 639-1 for languages that the model does not know."""

_CODES = dict(pair.split() for pair in _LONG_CODES.replace("\n", " ").split(","))
_NAMES = {name.lower(): code for code, name in LANGUAGES.items()}


@lru_cache(maxsize=4096)
def language_code(tag: str) -> str | None:
    """The code that a tag or an English name of a language means; None where it means none."""
    words = tag.strip().lower()[:_LONGEST_TAG]
    first = re.split(r"[-_,;/ ]", words, maxsplit=1)[0]
    code = _NAMES.get(words) or _CODES.get(first, first)
    known = code in LANGUAGES or code in _OTHER_SHORT_CODES or _LONG_CODE.fullmatch(code)
    return macrolanguage(code) if known and code not in _NO_LANGUAGE else None


def document_languages(
    identified: pa.Array | pa.ChunkedArray | None, declared: pa.Array | pa.ChunkedArray
) -> pa.StringArray:
    """Codes of the documents' languages, null where none is known. identified: labels of a model,
    None where nobody asked it; declared: what the records or their source say.
    """
    said = _codes(declared)
    return said if identified is None else pc.coalesce(_codes(identified), said)


def _codes(tags: pa.Array | pa.ChunkedArray) -> pa.StringArray:
    whole = tags.combine_chunks() if isinstance(tags, pa.ChunkedArray) else tags
    encoded = whole.cast(pa.string()).dictionary_encode()
    codes = [language_code(tag) for tag in encoded.dictionary.to_pylist()]
    return pa.array(codes, pa.string()).take(encoded.indices)
