"""What a report says of texts, rules and domains equals what brute force finds in the tables."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.paths import Store
from pipelines.corpus.chunk import Chunk
from pipelines.corpus.chunk_columns import ChunkColumns
from pipelines.report import domains
from pipelines.report.domains import SourceDomains, _hosts, registered_domain
from pipelines.report.drawing import histogram
from pipelines.report.findings import Findings, collect
from pipelines.report.funnel import read_funnel
from pipelines.report.kept_samples import SAMPLES
from pipelines.report.numerals import quantity
from pipelines.report.page import render
from pipelines.report.rule_measures import broken
from pipelines.report.rule_signals import Bins
from pipelines.report.signal_charts import signals_section
from pipelines.report.text_funnel import read_text_funnel
from pipelines.run.driver import RunOutcome
from pipelines.shards.take_downs import remove_from_run
from pipelines.signals.rules import Comparison, Rule
from tests.pipelines.report_corpus import run
from tests.pipelines.test_report_page import Page


@pytest.fixture(scope="module")
def outcome(hostile: tuple[Path, RunOutcome]) -> RunOutcome:
    return hostile[1]


@pytest.fixture(scope="module")
def found(outcome: RunOutcome) -> Findings:
    return collect(outcome.store, outcome.record)


@pytest.fixture(scope="module")
def html(outcome: RunOutcome, found: Findings) -> str:
    return render(outcome.record, found)


def chunks(outcome: RunOutcome) -> list[ChunkColumns]:
    found = [Chunk.from_json(value) for value in outcome.record["chunks"]]
    return [ChunkColumns(outcome.store, chunk) for chunk in found]


# -- texts ----------------------------------------------------------------------------------------


def test_dropped_text_is_the_text_of_the_documents_dropped(
    hostile: tuple[Path, RunOutcome], tmp_path: Path
) -> None:
    """Before there are tokens, in bytes: those of each document, where it was dropped."""
    outcome = run(hostile[0], tmp_path, until="corpus")
    funnel = read_funnel(outcome.record)
    texts = read_text_funnel(outcome.record, funnel)
    assert texts.unit == "bytes"
    gone: Counter[tuple[str, str]] = Counter()
    for columns in chunks(outcome):
        sizes = columns.column("bytes")
        assert sizes is not None
        for stage, size in zip(columns.stage, sizes.to_pylist(), strict=True):
            gone[columns.chunk.source, stage or "kept"] += size
    for row in texts.rows:
        steps = zip(funnel.steps, row.dropped, strict=True)
        assert {step.name: size for step, size in steps if size} == {
            stage: size
            for (source, stage), size in gone.items()
            if source == row.source
            if stage != "kept"
        }
        assert row.kept == gone[row.source, "kept"]


def test_kept_tokens_are_counted_and_the_others_estimated_alike(outcome: RunOutcome) -> None:
    funnel = read_funnel(outcome.record)
    texts = read_text_funnel(outcome.record, funnel)
    assert texts.unit == "tokens"
    assert texts.total.kept == funnel.total.tokens
    for row in (*texts.rows, texts.total):
        assert row.entered == row.kept + row.cut + sum(row.dropped)
    for row in texts.rows:
        use = outcome.record["encoded"][row.source]
        assert row.kept == use["tokens"]
        for place, step in enumerate(funnel.steps):
            if step.name in ("heuristics", "minhash_dedup"):
                (ledger,) = [one for one in outcome.record["ledgers"] if one["step"] == step.name]
                dropped = ledger["sources"][row.source]["dropped"].values()
                size = sum(count["bytes"] for count in dropped)
                assert row.dropped[place] == round(size * use["tokens"] / use["bytes"])


def test_a_source_of_which_nothing_stays_is_estimated_like_all(outcome: RunOutcome) -> None:
    encoded = {"other": outcome.record["encoded"]["other"]}
    record = {**outcome.record, "encoded": encoded}
    web, other = read_text_funnel(record, read_funnel(record)).rows
    assert (web.source, web.kept) == ("web", 0)
    assert sum(web.dropped) > 0
    assert other.kept == encoded["other"]["tokens"]


def test_the_funnel_in_tokens_is_on_the_page(outcome: RunOutcome, html: str) -> None:
    texts = read_text_funnel(outcome.record, read_funnel(outcome.record))
    assert "<h3>In tokens</h3>" in html
    assert f"of {quantity(texts.total.entered)}</span>" in html


# -- kept documents -------------------------------------------------------------------------------


def test_kept_samples_are_the_kept_documents_with_the_smallest_ids(
    outcome: RunOutcome, found: Findings, html: str
) -> None:
    ids: dict[str, list[str]] = {}
    for columns in chunks(outcome):
        for (high, low), kept in zip(columns.ids, columns.kept, strict=True):
            if kept:
                ids.setdefault(columns.chunk.source, []).append(f"{high:016x}{low:016x}")
    drawn = {
        source: [found.excerpts[place].id for place in places]
        for source, places in found.kept.places()
    }
    assert drawn == {source: sorted(every)[:SAMPLES] for source, every in ids.items()}
    assert found.kept.kept == {source: len(every) for source, every in ids.items()}
    section = html[html.index('<section id="kept">') : html.index('<section id="distributions">')]
    words = "".join(Page(section).words)
    for places in dict(found.kept.places()).values():
        for place in places:
            assert found.excerpts[place].id in words
            assert " ".join(found.excerpts[place].text.split())[:80] in words


def test_no_text_of_a_document_that_was_taken_down_is_shown(
    outcome: RunOutcome, found: Findings, tmp_path: Path
) -> None:
    """Of those that are kept others are drawn; dropped ones and pairs go as well."""
    folder = tmp_path / "copy"
    shutil.copytree(outcome.store.base, folder)
    store = Store(folder)
    shown = {excerpt.id for excerpt in found.excerpts.values()}
    drawn = {found.excerpts[place].id for _, places in found.kept.places() for place in places}
    pairs = {
        excerpt.id
        for one in found.evidence
        for pair in one.pairs
        if (excerpt := found.excerpt(pair.removed))
    }
    gone = {*sorted(drawn)[::2], *sorted(pairs)[::2], *sorted(shown)[::3]}
    remove_from_run(
        store,
        outcome.record,
        {bytes.fromhex(one): one for one in gone},
        "asked",
        ignore_missing=True,
    )
    without = collect(store, outcome.record)
    left = {excerpt.id for excerpt in without.excerpts.values()}
    assert not left & gone
    assert left
    counts = {source: len(places) for source, places in found.kept.places()}
    assert {source: len(places) for source, places in without.kept.places()} == counts
    assert without.kept.kept == found.kept.kept
    html = render(outcome.record, without)
    assert not [one for one in gone if one in html]


# -- axes and thresholds --------------------------------------------------------------------------


@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=30))
def test_a_histogram_has_whole_counts_on_its_y_axis(values: list[int]) -> None:
    drawn = histogram(values, None, [str(place) for place in range(len(values))])
    places = [float(place) for place, _ in drawn.y_marks]
    assert places[0] == 100  # zero, at the bottom
    assert places == sorted(places, reverse=True)
    assert all(0 <= place <= 100 for place in places)
    assert len(drawn.y_marks) <= 5
    if max(values) > 1:
        assert len(drawn.y_marks) >= 2


def test_columns_on_the_wrong_side_of_a_threshold_are_what_the_rule_fires_on(
    found: Findings,
) -> None:
    """Also where documents in another language are not judged."""
    fires = {key: value for key, value in found.reasons.fires.items() if key[0] == "heuristics"}
    breaking = {
        ("heuristics", rule.reason): signal.breaking
        for rule, signal in found.signals.steps["heuristics"].items()
    }
    assert breaking == {key: fires.get(key, 0) for key in breaking}
    assert sum(breaking.values()) > 5
    assert {rule.option for rule in found.signals.steps["heuristics"]} >= {"min_words", "max_words"}


def test_every_chart_holds_all_documents_judged(found: Findings) -> None:
    section = signals_section(found.signals)
    assert section is not None
    (step,) = section["steps"]
    signals = list(found.signals.steps["heuristics"].values())
    for chart, signal in zip(step["charts"], signals, strict=True):
        assert chart["judged"] == signal.documents.before.sum()
        assert 0 < float(chart["place"]) < 100
        assert 'class="threshold"' in chart["columns"].svg
    judged = {
        chart["judged"] for chart in step["charts"] if chart["measure"] == "symbol_free_words"
    }
    assert len(judged) == 1


@given(
    st.sampled_from(["<", ">"]),
    st.sampled_from([0.0, 0.1, 0.067, 0.8, 1.0, 2.0, 3.0, 10.0, 50.0, 100_000.0, -2.5]),
    st.booleans(),
    st.lists(st.floats(-1e6, 1e9) | st.integers(0, 200).map(float), min_size=1, max_size=20),
)
def test_a_threshold_is_the_edge_of_a_bin(
    comparison: Comparison, threshold: float, whole: bool, values: list[float]
) -> None:
    rule = Rule("r", "o", "c", comparison, threshold)
    array = np.array([abs(round(value)) if whole else value for value in values] + [threshold])
    array = array.astype(np.float64)
    bins = Bins.of(rule, whole)
    places = bins.place(array, broken(rule, array), rule)
    assert ((places >= 0) & (places < bins.count)).all()
    on_the_left = places < bins.middle
    assert (on_the_left == (broken(rule, array) == (comparison == "<"))).all()
    assert bins.edge(bins.middle) == threshold
    for value, place in zip(array, places, strict=True):
        room = 1e-6 * max(1.0, abs(value))
        assert place == 0 or bins.edge(int(place)) <= value + room
        assert place == bins.count - 1 or value <= bins.edge(int(place) + 1) + room


# -- domains --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("https://www.example.co.uk/a?b#c", "example.co.uk"),
        ("HTTP://user:word@News.Example.org:8080/", "example.org"),
        ("https://例え.テスト.jp/", "テスト.jp"),
        ("https://example.org.", "example.org"),
        ("http://127.0.0.1:80/x", "127.0.0.1"),
        ("http://[::1]/", "[::1]"),
        ("https://localhost/", "localhost"),
        ("warc://host", "host"),
        ("example.org/path", None),
        ("mailto:someone@example.org", None),
        ("https:///nothing", None),
        ("", None),
        (None, None),
    ],
)
def test_registered_domains(url: str | None, domain: str | None) -> None:
    (host,) = _hosts(pa.array([url], pa.string())).to_pylist()
    assert (None if host is None else registered_domain(host)) == domain


def test_domains_count_every_document_with_an_address(
    outcome: RunOutcome, found: Findings, html: str
) -> None:
    web = [columns for columns in chunks(outcome) if columns.chunk.source == "web"]
    read = sum(len(columns.ids) for columns in web)
    kept = sum(int(columns.kept.sum()) for columns in web)
    characters = sum(int(columns.characters[columns.kept].sum()) for columns in web)
    assert set(found.domains.sources) == {"web"}, "the other source has no addresses"
    (name,) = found.domains.sources["web"].by_name
    count = found.domains.sources["web"].by_name[name]
    assert (name, count.read, count.kept, count.characters) == (
        "example.org",
        read,
        kept,
        characters,
    )
    assert "<tr><th>example.org</th>" in html


@given(st.lists(st.integers(0, 40), max_size=300))
def test_rare_domains_make_room_and_counts_say_how_much_they_lack(names: list[int]) -> None:
    exact = Counter(f"d{name}" for name in names)
    counted = SourceDomains()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(domains, "HELD", 8)
        for name in names:
            counted.add(f"d{name}", 1, 0, 0)
            counted.make_room()
            assert len(counted.by_name) <= 8
    assert counted.whole.read == len(names)
    for name, value in counted.by_name.items():
        assert exact[name] - counted.missing <= value.read <= exact[name]
    for name, documents in exact.items():
        assert name in counted.by_name or documents <= counted.missing
