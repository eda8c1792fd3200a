"""What both checkouts read: recipes and sample corpus, copied once, and documents that give every
stage something to do.

The planted documents are made from those of the sample corpus by rule, without chance: copies
byte for byte, by words and by address, edited copies, passages and lines that stand in several
documents, records that are none, keys that come twice, conversations that cannot be trained on.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

COPIED = ("recipes", "examples")
TINY, QUICKSTART, STAGES = "recipes/tiny.yaml", "recipes/quickstart.yaml", "planted/stages.yaml"
ENGLISH = "examples/corpus/web-en/etcd-docs.jsonl.zst"
NOTICE = "This page is part of the archive and is no longer kept up to date by its authors."
PLACES = 10  # documents that each kind of copy is made of

STAGES_RECIPE = """\
name: stages
seed: 5
corpus:
  root: ..
  sources:
    - name: web-en
      paths:
        - examples/corpus/web-en/etcd-docs.jsonl.zst
        - examples/corpus/web-en/cpp-docs-compiler-errors.jsonl.zst
        - examples/corpus/web-en/planted-benchmark-leaks.jsonl.zst
      id_field: id
    - {name: planted, paths: [planted/*.jsonl, planted/*.jsonl.gz], id_field: id, lang: en}
    - {name: tables, paths: [planted/*.parquet], license: CC0-1.0}
    - name: web-zh
      paths:
        - examples/corpus/web-zh/chinese-poetry.jsonl.zst
        - examples/corpus/web-zh/vue-docs-zh.jsonl.zst
      id_field: id
    - {name: multilingual, paths: [examples/corpus/multilingual/*.jsonl.zst], id_field: id}
    - {name: pages, paths: [examples/corpus/html/*.html], lang: en}
    - {name: crawl, paths: [examples/corpus/warc/*.warc.gz]}
    - name: chats
      paths: [planted/chats/*.jsonl, examples/corpus/sft/openassistant-trees.jsonl.zst]
      id_field: id
      messages_field: messages
  stages:
    - newlines: {max_blank_lines: 2}
    - language:
        keep: [en, zh]
        min_score: 0.2
        sources: [web-en, web-zh, multilingual, pages, crawl]
    - heuristics: {sources: [web-en, planted, pages, crawl]}
    - heuristics:
        name: rules-zh
        rules: [gopher_quality_zh]
        thresholds: {min_cjk_characters: 40}
        sources: [web-zh]
    - exact_dedup
    - exact_dedup: {name: same-words, by: normalized_text}
    - exact_dedup: {name: same-url, by: url, keep: "characters desc, id", prefer: [tables]}
    - minhash_dedup: {quality_sample: 200}
    - minhash_dedup:
        name: contained
        similarity: containment
        verify: 0.8
        keep: "date desc, source_rank, id"
    - substring_dedup: {length: 40, sources: [web-en, planted, tables, pages, crawl]}
    - line_dedup: {min_words: 5, sources: [web-en, planted, tables, pages, crawl]}
    - decontaminate: {against: [examples/benchmarks/*.jsonl]}
    - source_overlap: {scale: 16}
    - datatrove:
        name: repetition
        block: GopherRepetitionFilter
        words: whitespace
        sources: [web-en, planted, tables]
    - datatrove: {name: addresses, block: PIIFormatter, sources: [web-en, planted, pages]}
  chunk_mib: 0.5
tokenizer: {vocab_size: 1024, sample: {web-en: 3, planted: 1}, sample_mib: 1}
shards:
  part_mtokens: 0.2
  hold_out: 0.05
  split:
    web-en: {by: alpha_word_ratio, bands: {high: ">= 0.9", low: rest}}
    planted: {by: cluster_size, bands: {copied: "top 30%", single: rest}}
mixture:
  phases:
    - {name: stable, tokens: 10_240, weights: {web-en: 0.5, web-zh: 0.3, planted/single: 0.2}}
    - name: decay
      decay: true
      tokens: 5_120
      ramp_tokens: 1_024
      weights: {web-en/high: 0.4, web-zh: 0.2, chats: 0.4}
branches:
  - name: without-chats
    phases: [{name: decay, decay: true, tokens: 5_120, weights: {web-en: 0.6, web-zh: 0.4}}]
prompts: ["The server", "组件"]
model: {preset: tiny, width: 64, layers: 2, heads: 1, kv_heads: 1, ff: 160, dim_model_base: 64}
train:
  sequence_length: 128
  batch_tokens: 1024
  schedule: {kind: wsd, peak: 0.01, warmup: 3, decay: {shape: exponential}}
  checkpoint_every: 5
  validate_every: 5
"""


def lay_out(folder: Path, source: Path) -> None:
    """Copy recipes and corpus of a checkout into a folder, and plant documents beside them."""
    for name in COPIED:
        shutil.copytree(source / name, folder / name)
    planted = folder / "planted"
    (planted / "chats").mkdir(parents=True)
    documents = records(folder / ENGLISH)
    write_lines(planted / "copies.jsonl", copies(documents))
    write_lines(planted / "broken.jsonl", [*documents[:2], documents[0]], broken_lines())
    with gzip.GzipFile(planted / "passages.jsonl.gz", "wb", mtime=0) as out:
        out.write(b"".join(map(encoded, passages(documents))))
    rows = [{"text": record["text"], "url": record["url"]} for record in documents[:PLACES]]
    pq.write_table(pa.Table.from_pylist(rows), planted / "rows.parquet")
    write_lines(planted / "chats" / "unsound.jsonl", unsound_chats())
    (folder / STAGES).write_text(STAGES_RECIPE, encoding="utf-8")


def records(path: Path) -> list[dict[str, Any]]:
    """Records of a compressed file of JSON Lines."""
    raw = pa.CompressedInputStream(pa.OSFile(str(path)), "zstd").read()
    return [json.loads(line) for line in raw.splitlines()]


def encoded(record: dict[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"


def write_lines(path: Path, lines: Iterable[dict[str, Any]], behind: bytes = b"") -> None:
    path.write_bytes(b"".join(map(encoded, lines)) + behind)


def copies(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Copies of several kinds, each of other documents."""
    kinds = (
        lambda text: text,
        lambda text: text.upper().replace(" ", "  "),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: f"{text}\nThis was added to the end of a copy, and nothing else was changed.",
        lambda text: text[len(text) // 2 :],
    )
    found = []
    for kind, change in enumerate(kinds):
        for record in documents[kind * PLACES : (kind + 1) * PLACES]:
            dated = {"id": f"copy {kind} of {record['id']}", "date": f"2020-01-0{kind + 1}"}
            found.append({**dated, "text": change(record["text"]), "url": f"https://copy/{kind}"})
    return found


def passages(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Documents with a passage of another, a line that all have, an address, and repeated words."""
    found = []
    for place, record in enumerate(documents[-3 * PLACES :]):
        words = documents[place]["text"].split(" ")[20:120]
        text = (
            f"{record['text']}\n{NOTICE}\n{' '.join(words)}\nwrite to somebody{place}@example.com"
        )
        if place < PLACES:
            text += f"\n{'again and again and again the same ' * 40}"
        found.append({"id": f"passage {place}", "text": text, "url": f"https://passage/{place}"})
    return found


def broken_lines() -> bytes:
    """Lines that are no documents."""
    lines = (b"not JSON", b"", b'{"id": "number", "text": 3}', b'["a", "list"]', b'{"id": "none"}')
    return b"\n".join((*lines, b'{"id": "invalid", "text": "\xff\xfe"}', b'{"id": "cut off", "te'))


def unsound_chats() -> list[dict[str, Any]]:
    """Conversations that cannot be trained on, a sound one, and the sound one again."""
    question = {"role": "user", "content": "Which way leads to the harbour?"}
    answer = {"role": "assistant", "content": "The one along the river, past the old mill."}
    turns: tuple[list[dict[str, Any]], ...] = (
        [question, answer],
        [question, answer],
        [],
        [question],
        [{"role": "captain", "content": "Aye."}, answer],
        [question, {"role": "assistant", "content": None}],
        [question, {"role": "assistant", "content": ""}],
        [{"role": "system", "content": "You know the town."}, question, answer, question],
    )
    return [{"id": f"chat {number}", "messages": chat} for number, chat in enumerate(turns)]
