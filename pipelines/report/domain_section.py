"""The section of a report about the domains that documents come from."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from pipelines.report.domains import Domains, SourceDomains
from pipelines.report.drawing import Part, stacked_bar

SHOWN = 12
"""Domains of a source."""

SOURCES = 24
"""The sources with most addresses are shown."""


def domains_section(domains: Domains) -> dict[str, Any] | None:
    """The most frequent domains of every source; None where no document has an address."""
    largest = sorted(domains.sources, key=lambda name: (-domains.sources[name].whole.read, name))
    if not largest:
        return None
    rows = [_source(name, domains.sources[name]) for name in largest[:SOURCES]]
    return {"every": domains.every, "sources": rows, "left_out": max(0, len(largest) - SOURCES)}


def _source(source: str, counted: SourceDomains) -> dict[str, Any]:
    shown = counted.frequent()[:SHOWN]
    most = max(counted.by_name[domain].read for domain in shown)
    return {
        "source": source,
        "whole": counted.whole,
        "domains": len(counted.by_name),
        "missing": counted.missing,
        "rows": [
            (domain, counted.by_name[domain], _bar(domain, counted, most)) for domain in shown
        ],
    }


def _bar(domain: str, counted: SourceDomains, most: int) -> Markup:
    count = counted.by_name[domain]
    parts = [Part("kept", count.kept, "kept"), Part("dropped", count.read - count.kept, "other")]
    return stacked_bar(parts, most, label=f"documents of {domain}")
