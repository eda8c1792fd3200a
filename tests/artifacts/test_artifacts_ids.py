"""Ids depend on source and key alone; keyed hashes order them the same everywhere."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from artifacts.ids import as_words, document_ids, from_words, native_key, place_key, text_hashes
from artifacts.keyed_hash import hash_key, keyed_hash, keyed_order


def test_an_id_is_the_xxh3_of_source_and_key() -> None:
    ids = document_ids("web", [native_key("a"), place_key("dir/file.jsonl", 17)])
    assert ids[0].as_py() == xxhash.xxh3_128_digest(b"web\0n\0a")
    assert ids[1].as_py() == xxhash.xxh3_128_digest(b"web\0p\0dir/file.jsonl\0" + b"17")


@given(st.lists(st.text(), unique=True, max_size=30), st.text(max_size=5))
def test_different_keys_sources_and_kinds_have_different_ids(names: list[str], source: str) -> None:
    keys = [native_key(name) for name in names] + [place_key(name, 0) for name in names]
    both = document_ids(source, keys).to_pylist() + document_ids(source + "x", keys).to_pylist()
    assert len(set(both)) == len(both)


@given(st.lists(st.text(max_size=40), max_size=20), st.integers(0, 5))
def test_text_hashes_are_those_of_each_text_even_in_a_slice(texts: list[str], cut: int) -> None:
    array = pa.array(texts, pa.large_string()).slice(min(cut, len(texts)))
    assert text_hashes(array).to_pylist() == [
        xxhash.xxh3_128_digest(text.encode()) for text in texts[min(cut, len(texts)) :]
    ]


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=30))
def test_words_order_ids_as_their_bytes_do(raw: list[bytes]) -> None:
    ids = pa.array(raw, pa.binary(16))
    words = as_words(ids)
    assert from_words(words).to_pylist() == raw
    assert [raw[row] for row in np.lexsort((words[:, 1], words[:, 0]))] == sorted(raw)


@given(
    st.lists(st.binary(min_size=16, max_size=16), unique=True, min_size=1, max_size=30),
    st.integers(0, 2**64 - 1),
    st.randoms(),
)
def test_the_keyed_order_does_not_depend_on_the_order_of_arrival(
    raw: list[bytes], key: int, random: object
) -> None:
    first = [raw[row] for row in keyed_order(pa.array(raw, pa.binary(16)), key)]
    other = list(raw)
    random.shuffle(other)  # type: ignore[attr-defined]
    assert [other[row] for row in keyed_order(pa.array(other, pa.binary(16)), key)] == first


def test_keyed_hashes_are_uniform_and_independent_between_purposes() -> None:
    ids = document_ids("web", [native_key(str(number)) for number in range(20_000)])
    one, two = (keyed_hash(ids, hash_key(1, purpose)) for purpose in ("shuffle", "sample"))
    for hashes in (one, two):
        counts = np.bincount((hashes >> np.uint64(56)).astype(int), minlength=256)
        chi_square = float(((counts - 20_000 / 256) ** 2 / (20_000 / 256)).sum())
        assert 170 < chi_square < 350  # 255 degrees of freedom, far beyond 99.9% on either side
    assert abs(np.corrcoef(one.astype(float), two.astype(float))[0, 1]) < 0.03
    assert hash_key(1, "a") != hash_key(2, "a")
