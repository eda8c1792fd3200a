"""The card of an exported dataset: a README.md as dataset hubs show and index it.

Metadata in front is YAML by the hub's rules (huggingface/hub-docs, datasetcard.md): languages,
licences, a size class and one configuration per source. What sources say of themselves comes from
outside, so it is quoted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from artifacts.visible_text import on_one_line

MARK = "<!-- made by windtunnel corpus export -->"

_LICENCES = frozenset(
    (
        *("apache-2.0", "mit", "unlicense", "isc", "mpl-2.0", "wtfpl", "zlib", "gfdl", "odc-by"),
        *("bsd-2-clause", "bsd-3-clause", "gpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0"),
        *("cc0-1.0", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"),
        *("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0", "pddl", "odbl"),
    )
)
_LANGUAGE = re.compile("[a-z]{2,3}|code")
_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B")
_LISTED = 12  # values of a source that a table names


@dataclass(frozen=True)
class SourceCard:
    """One source of a dataset.

    read, kept: documents. text_bytes: of those kept, UTF-8. left: documents that went, by reason.
    languages, licences: of those kept, documents by value; None where they say none. files: names
    relative to the card.
    """

    name: str
    read: int
    kept: int
    text_bytes: int
    left: Mapping[str, int]
    files: Sequence[str]
    languages: Mapping[str | None, int] = field(default_factory=dict)
    licences: Mapping[str | None, int] = field(default_factory=dict)


def dataset_card(
    name: str,
    sources: Sequence[SourceCard],
    stages: Sequence[Mapping[str, Any]],
    taken_down: int,
    release: str,
) -> str:
    """The card as text. stages: of the recipe, each a name with its settings. taken_down:
    documents that were kept and are left out, since they were taken down. release: of this
    toolkit.
    """
    documents = sum(source.kept for source in sources)
    heading = [MARK, f"# {_cell(name)}", "", *_sentences(documents, taken_down, release)]
    body = [*heading, "", *_sizes(sources), "", *_told(sources), "", *_left(sources)]
    return "\n".join([*_front(name, sources, documents), *body, "", *_made(stages)]) + "\n"


def _front(name: str, sources: Sequence[SourceCard], documents: int) -> list[str]:
    languages, known = hub_languages(sources), hub_licences(sources)
    front = ["---", f"pretty_name: {json.dumps(on_one_line(name))}"]
    front += [f"language: {json.dumps(languages)}"] if languages else []
    front += [f"license: {json.dumps(known)}"] if known else []
    front += [f'size_categories: ["{size_class(documents)}"]', 'tags: ["windtunnel"]']
    with_files = [source for source in sources if source.files]  # no configuration is empty
    front += ["configs:"] * bool(with_files)
    for source in with_files:
        front += [
            f"  - config_name: {json.dumps(source.name)}",
            f"    data_files: {json.dumps(_patterns(source.files))}",
        ]
    return [*front, "---", ""]


def hub_languages(sources: Sequence[SourceCard]) -> list[str]:
    """The languages of documents, by the hub's codes."""
    return sorted(
        {one for source in sources for one in source.languages if one and _LANGUAGE.fullmatch(one)}
    )


def hub_licences(sources: Sequence[SourceCard]) -> list[str]:
    """The licences of documents as the hub names them; ``other`` for all that it does not know."""
    licences = {(one or "").lower() for source in sources for one in source.licences}
    return sorted(licences & _LICENCES) + ["other"] * bool(licences - _LICENCES)


def size_class(documents: int) -> str:
    """The hub's class of a dataset of so many documents."""
    for place, name in enumerate(_SIZES):
        if documents < 10 ** (place + 3):
            return name
    return "n>1B"


def _patterns(files: Sequence[str]) -> list[str]:
    """Globs of a source's files, by how many digits their numbers have: the files of ``web-2`` are
    none of ``web``.
    """
    number = re.compile(r"-(\d+)(\.jsonl\.zst|\.parquet)$")
    return sorted(
        {number.sub(lambda found: f"-{'?' * len(found[1])}{found[2]}", file) for file in files}
    )


def _sentences(documents: int, taken_down: int, release: str) -> list[str]:
    made = (
        f"{documents:,} documents, read, measured, chosen and deduplicated by windtunnel {release}."
    )
    if taken_down:
        made += f" {taken_down:,} that were kept are left out: they were taken down."
    return [made]


def _sizes(sources: Sequence[SourceCard]) -> list[str]:
    rows = [
        (source.name, f"{source.read:,}", f"{source.kept:,}", f"{source.text_bytes:,}")
        for source in sources
    ]
    return _table(("source", "documents read", "documents here", "bytes of text"), rows)


def _told(sources: Sequence[SourceCard]) -> list[str]:
    rows = [
        (source.name, _counts(source.languages), _counts(source.licences)) for source in sources
    ]
    return [
        "## Languages and licences, as the sources say",
        "",
        *_table(("source", "languages", "licences"), rows),
    ]


def _left(sources: Sequence[SourceCard]) -> list[str]:
    rows = [
        (source.name, reason, f"{number:,}")
        for source in sources
        for reason, number in sorted(source.left.items(), key=lambda item: (-item[1], item[0]))
    ]
    told = _table(("source", "reason", "documents"), rows) if rows else ["Nothing was left out."]
    return ["## What is not here, and why", "", *told]


def _made(stages: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = json.dumps(list(stages), indent=1, ensure_ascii=True).splitlines()
    return ["## Stages", "", "```json", *lines, "```"]


def _counts(values: Mapping[str | None, int]) -> str:
    most = sorted(values.items(), key=lambda item: (-item[1], item[0] or ""))
    shown = [
        f"{'not said' if value is None else value} {number:,}" for value, number in most[:_LISTED]
    ]
    return ", ".join([*shown, *([f"{len(most) - _LISTED:,} more"] if len(most) > _LISTED else [])])


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(map(_cell, line)) + " |" for line in lines]


def _cell(text: str) -> str:
    """Text from outside in Markdown: one line, and nothing of it is markup."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", on_one_line(text))


__all__ = ["MARK", "SourceCard", "dataset_card", "size_class"]
