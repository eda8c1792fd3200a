"""The report: exact numbers, hostile documents that stay text, nothing loaded, the same bytes
again.
"""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from artifacts.errors import UserError
from pipelines.report.findings import collect
from pipelines.report.funnel import read_funnel
from pipelines.report.numerals import count, share
from pipelines.report.page import write_report
from pipelines.report.reasons import dropped_by_reason
from pipelines.run.driver import RunOutcome
from pipelines.run.record import load_run
from tests.pipelines.report_corpus import run


class Page(HTMLParser):
    """Elements with attributes, and the rows of every table as text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self._cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._cell = True
        if tag == "small" and self._cell:
            self.rows[-1][-1] += " | "

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._cell:
            self.rows[-1][-1] += data

    def row(self, first: str, cells: int) -> list[str]:
        return next(row for row in self.rows if row[0] == first and len(row) == cells)


@pytest.fixture(scope="module")
def recipe(hostile: tuple[Path, RunOutcome]) -> Path:
    return hostile[0]


@pytest.fixture(scope="module")
def outcome(hostile: tuple[Path, RunOutcome]) -> RunOutcome:
    return hostile[1]


@pytest.fixture(scope="module")
def html(outcome: RunOutcome) -> str:
    return outcome.store.read(write_report(outcome.store, outcome.record)).decode()


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_report_lies_in_the_run_folder(outcome: RunOutcome) -> None:
    assert write_report(outcome.store, outcome.record) == "report.html"
    assert outcome.store.exists("report.html")


def test_funnel_rows_equal_the_ledgers(outcome: RunOutcome, page: Page) -> None:
    funnel = read_funnel(outcome.record)
    chosen = [step for step in funnel.steps if step.name != "unique"]
    for row in (*funnel.rows, funnel.total):
        ledgers = {
            ledger.step: ledger.total() if row is funnel.total else ledger.entry(row.source)
            for ledger in outcome.ledgers
        }
        cells = [row.source, count(ledgers["read"].entered.documents)]
        for step in chosen:
            if step.name == "read":
                continue
            entry = ledgers[step.name]
            dropped = sum(part.documents for part in entry.dropped.values())
            cells += [count(entry.entered.documents)] if step.name == "exact_dedup" else []
            cells += [f"{count(dropped)} | {share(dropped, row.entered)}" if dropped else "–"]
            cells += [count(entry.kept.documents)] if step.name == "minhash_dedup" else []
        quarantined = sum(
            part.documents for ledger in ledgers.values() for part in ledger.quarantined.values()
        )
        kept = ledgers["decontaminate"].kept.documents
        cells += [
            count(quarantined) if quarantined else "–",
            f"{count(kept)} | {share(kept, row.entered)}",
        ]
        shown = page.row(row.source, len(cells) + 1)
        assert shown[:-1] == cells


def test_funnel_balances_for_every_source(outcome: RunOutcome) -> None:
    funnel = read_funnel(outcome.record)
    for row in (*funnel.rows, funnel.total):
        assert row.entered == row.kept + sum(row.dropped) + sum(row.quarantined)
    assert funnel.total.before_dedup is not None
    assert funnel.total.after_dedup is not None
    assert funnel.total.before_dedup > funnel.total.after_dedup >= funnel.total.kept


def test_reasons_equal_the_selection_tables(outcome: RunOutcome) -> None:
    seen: Counter[tuple[str, str]] = Counter()
    for ref in outcome.record["selection"].values():
        table = pq.read_table(outcome.store.full(ref["name"]))
        seen.update((row["stage"], row["reason"]) for row in table.to_pylist() if not row["kept"])
    counted = {
        key: value["documents"]
        for key, value in dropped_by_reason(outcome.record).items()
        if key[0] != "read"
    }
    assert counted == dict(seen)
    assert {
        "gopher_short_doc",
        "exact_duplicate",
        "near_duplicate",
        "benchmark_overlap",
        "language_not_kept",
    } <= {reason for _, reason in seen}


def _verdicts(outcome: RunOutcome) -> list[dict[str, list[set[str]]]]:
    """Reasons that fire on each document, per verdict table, read off the run folder by brute
    force.
    """
    orders = {
        "heuristics": [
            "gopher_short_doc",
            "gopher_long_doc",
            "gopher_below_avg_threshold",
            "gopher_above_avg_threshold",
            "gopher_too_many_hashes",
            "gopher_too_many_ellipsis",
            "gopher_too_many_bullets",
            "gopher_too_many_end_ellipsis",
            "gopher_below_alpha_threshold",
            "gopher_enough_stop_words",
        ],
        "language": ["language_not_kept", "language_unsure"],
        "decontaminate": ["benchmark_overlap"],
    }
    found = []
    for step, names in orders.items():
        for path in sorted(
            Path(outcome.store.full(f"selection/{step}")).glob("*/verdicts.parquet")
        ):
            rows = pq.read_table(path).to_pylist()
            found.append(
                {
                    row["id"].hex(): {
                        name for bit, name in enumerate(names) if row["rules"] >> bit & 1
                    }
                    for row in rows
                }
            )
    return found  # type: ignore[return-value]


def test_marginal_values_equal_a_count_by_brute_force(outcome: RunOutcome) -> None:
    fired: dict[str, set[str]] = {}
    for table in _verdicts(outcome):
        for document, names in table.items():
            fired.setdefault(document, set()).update(names)  # type: ignore[arg-type]
    fires = Counter(name for names in fired.values() for name in names)
    only = Counter(next(iter(names)) for names in fired.values() if len(names) == 1)
    tally = collect(outcome.store, outcome.record).reasons
    assert {reason: value for (_, reason), value in tally.fires.items() if value} == dict(fires)
    assert {reason: value for (_, reason), value in tally.only.items() if value} == dict(only)
    assert fires["gopher_short_doc"] > only["gopher_short_doc"] > 0


def test_verdicts_of_other_settings_in_the_same_folder_are_not_mixed_in(
    recipe: Path, tmp_path: Path, outcome: RunOutcome
) -> None:
    """A looser threshold for what is dropped anyway changes verdicts and not one byte of the
    selection.
    """
    loose = ("corpus.stages.2.heuristics.thresholds={max_hash_ratio: 0.9}",)
    both, alone = (
        run(recipe, tmp_path / "both", until="corpus"),
        run(recipe, tmp_path / "alone", loose, until="corpus"),
    )
    strict = collect(both.store, both.record).reasons
    again = run(recipe, tmp_path / "both", loose, until="corpus")
    assert collect(again.store, again.record).reasons == collect(alone.store, alone.record).reasons
    assert (
        collect(both.store, both.record).reasons
        == strict
        == collect(outcome.store, outcome.record).reasons
    )
    assert {key: ref["checksum"] for key, ref in again.record["selection"].items()} == {
        key: ref["checksum"] for key, ref in both.record["selection"].items()
    }
    key = ("heuristics", "gopher_too_many_hashes")
    assert strict.fires[key] == 1
    assert collect(again.store, again.record).reasons.fires[key] == 0


def test_samples_are_those_nearest_to_the_threshold(outcome: RunOutcome) -> None:
    found = collect(outcome.store, outcome.record)
    samples = found.reasons.samples["heuristics", "gopher_short_doc"]
    measured = [float(sample.measured.split()[1]) for sample in samples]
    assert measured == sorted(measured, reverse=True)
    assert [sample.measured for sample in samples][:2] == ["symbol_free_words 49 < 50"] * 2
    assert all((sample.chunk, sample.row) in found.excerpts for sample in samples)


def test_hostile_documents_stay_text(html: str, page: Page) -> None:
    forbidden = {
        "script",
        "img",
        "iframe",
        "object",
        "embed",
        "link",
        "base",
        "form",
        "input",
        "video",
        "audio",
        "use",
        "image",
        "a:script",
    }
    assert not forbidden & {tag for tag, _ in page.elements}
    assert not [
        name for _, attributes in page.elements for name in attributes if name.startswith("on")
    ]
    words = "".join(page.words)
    assert "<script>alert(1)</script>" in words
    assert '"><img src=x onerror=alert(2)>' in words
    assert "\u202e" not in html
    assert "\\u202e" in words


def test_nothing_is_loaded_from_anywhere(html: str, page: Page) -> None:
    for tag, attributes in page.elements:
        assert (
            not {
                "src",
                "srcset",
                "data",
                "action",
                "formaction",
                "xlink:href",
                "background",
                "poster",
            }
            & attributes.keys()
        ), tag
        assert str(attributes.get("href", "#")).startswith("#")
    assert "@import" not in html
    assert "url(" not in html
    policy = next(
        attributes["content"]
        for tag, attributes in page.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")


def test_every_link_leads_to_a_section(page: Page) -> None:
    targets = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    links = {str(attributes["href"])[1:] for tag, attributes in page.elements if tag == "a"}
    assert links <= targets
    assert {
        "funnel",
        "reasons",
        "duplicates",
        "benchmarks",
        "quarantine",
        "tokenizer",
        "shards",
        "recipe",
    } <= links


def test_pairs_carry_their_evidence(outcome: RunOutcome, page: Page) -> None:
    evidence = pq.read_table(
        outcome.store.full(outcome.record["evidence"]["minhash_dedup"]["file"]["name"])
    ).to_pylist()
    rows = {(row["id"].hex(), row["kept_id"].hex()): row for row in evidence}
    (found,) = [
        part
        for part in collect(outcome.store, outcome.record).evidence
        if part.step == "minhash_dedup"
    ]
    assert found.removed == len(evidence)
    assert found.clusters == len({row["kept_id"] for row in evidence})
    assert found.similarity.sum() == len(evidence)
    assert len(found.pairs) == min(8, len(evidence))
    words = "".join(page.words)
    for pair in found.pairs:
        row = rows[
            "".join(f"{half:016x}" for half in pair.removed),
            "".join(f"{half:016x}" for half in pair.kept),
        ]
        assert (pair.similarity, pair.bands_hit, pair.cluster_size) == (
            row["similarity"],
            row["bands_hit"],
            row["cluster_size"],
        )
        assert row["id"].hex() in words
    similarities = [pair.similarity for pair in found.pairs]
    assert similarities[0] == min(row["similarity"] for row in evidence)
    assert similarities[-1] == max(row["similarity"] for row in evidence)


def test_distributions_count_every_document_once(outcome: RunOutcome) -> None:
    found = collect(outcome.store, outcome.record)
    for row in read_funnel(outcome.record).rows:
        lengths = found.distributions[row.source].characters
        assert lengths.after.sum() == row.kept
        assert lengths.before.sum() == row.entered - sum(row.quarantined) - row.dropped[0]
        assert (lengths.after <= lengths.before).all()


def test_quarantine_rows_show_place_and_bytes(outcome: RunOutcome, page: Page) -> None:
    shown = [row for row in page.rows if row and row[0].startswith("web | web.jsonl")]
    ledger = next(ledger for ledger in outcome.ledgers if ledger.step == "read")
    assert (
        len(shown) == sum(part.documents for part in ledger.entry("web").quarantined.values()) == 2
    )
    assert '{"id": "broken", "text": <script>alert(3)</script>' in shown[0][-1]


def test_token_figures_equal_record_and_model(outcome: RunOutcome, page: Page) -> None:
    for source, use in outcome.record["encoded"].items():
        documents = outcome.record["shards"][source]["documents"]
        row = next(
            row
            for row in page.rows
            if row[0] == source and len(row) == 10 and row[3] == count(use["tokens"])
        )
        assert row[1] == count(documents)
        assert row[9] == f"0 of {count(documents)}"  # texts that do not come back
        assert row[5] == f"{use['bytes'] / use['tokens']:.2f}"
        assert row[6] == f"{use['tokens'] / documents:,.1f}"
    use = collect(outcome.store, outcome.record).tokens
    assert use is not None
    assert use.counted == sum(value["tokens"] for value in outcome.record["encoded"].values())


def test_shard_rows_equal_the_files(outcome: RunOutcome, page: Page) -> None:
    for facts in outcome.record["shards"].values():
        for path in Path(outcome.store.full(facts["folder"])).glob("*.arrow"):
            row = next(row for row in page.rows if len(row) == 7 and row[1] == path.name)
            assert len(row[6]) == 32


def test_same_record_gives_the_same_bytes(outcome: RunOutcome, html: str) -> None:
    store, record = load_run(str(Path(outcome.store.root).parent), "hostile")
    write_report(store, record)
    assert store.read("report.html").decode() == html


def test_another_run_differs_in_lines_of_time_only(recipe: Path, html: str, tmp_path: Path) -> None:
    other = run(recipe, tmp_path)
    again = other.store.read(write_report(other.store, other.record)).decode()

    def timeless(text: str) -> list[str]:
        return [line for line in text.splitlines() if 'class="time"' not in line]

    assert timeless(again) == timeless(html)
    assert len(timeless(html)) > 100


@pytest.mark.parametrize("until", ["read", "corpus", "tokenizer"])
def test_unfinished_runs_have_reports(recipe: Path, tmp_path: Path, until: str) -> None:
    outcome = run(recipe, tmp_path, until=until)
    text = outcome.store.read(write_report(outcome.store, outcome.record)).decode()
    assert f"The run has reached the step “{until}”." in text
    assert re.search(r'id="shards"', text) is None


def test_half_octaves_hold_their_edges() -> None:
    from pipelines.report.distributions import half_octave

    values = np.array([0, 1, 2, 3, 4, 5, 6, 1 << 20, (1 << 20) - 1, 1 << 40])
    assert half_octave(values).tolist() == [0, 0, 2, 3, 4, 4, 5, 40, 39, 63]


def test_missing_runs_are_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such run"):
        load_run(str(tmp_path), "nothing")
