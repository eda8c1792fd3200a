"""What near-duplicate removal must never do, in whole runs: follow chains, take a template or a
footer for a copy, or skip in silence.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from artifacts.ledger import Ledger
from pipelines.executors.progress import Silent
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import run_recipe

SYLLABLES = ["".join(pair) for pair in product("bdfghklmnprstvz", "aeiou")]
THRESHOLD = 0.7  # the stage's default


def words(theme: int, count: int) -> list[str]:
    """Words that no other theme has, none twice."""
    stem = SYLLABLES[theme % 75] + SYLLABLES[theme // 75 % 75] + SYLLABLES[theme // 5625]
    return [f"{stem}{SYLLABLES[k % 75]}{SYLLABLES[k // 75]}" for k in range(count)]


def similarity(one: str, other: str) -> float:
    """Exact Jaccard similarity of the sets of five-word shingles."""
    left, right = (
        set(zip(*[text.split()[start:] for start in range(5)], strict=False))
        for text in (one, other)
    )
    return len(left & right) / len(left | right)


class Notes(Silent):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


@dataclass
class Judged:
    """What the stage did: texts kept, removed -> (kept text, similarity, cluster size), counts, the
    ledger, notes of the run.
    """

    kept: set[str]
    removed: dict[str, tuple[str, float, int]]
    facts: dict[str, Any]
    ledger: Ledger
    notes: list[str]


def deduplicated(folder: Path, texts: list[str], **settings: object) -> Judged:
    """A run of minhash_dedup alone, with its defaults but for the settings given, over these
    texts.
    """
    (folder / "texts.jsonl").write_bytes(
        b"\n".join(
            orjson.dumps({"id": str(number), "text": text}) for number, text in enumerate(texts)
        )
    )
    recipe = {
        "name": "safety",
        "corpus": {
            "sources": [{"name": "web", "paths": ["texts.jsonl"], "id_field": "id"}],
            "stages": [{"minhash_dedup": settings}],
        },
    }
    (folder / "recipe.yaml").write_bytes(orjson.dumps(recipe))
    notes = Notes()
    outcome = run_recipe(load_recipe(folder / "recipe.yaml"), str(folder / "runs"), progress=notes)
    store, record = outcome.store, outcome.record
    documents = [
        pq.read_table(store.full(chunk["documents"]["name"]), columns=["id", "text"]).to_pylist()
        for chunk in record["chunks"]
    ]
    text_of = {row["id"]: row["text"] for chunk in documents for row in chunk}
    selection = pq.read_table(store.full(record["selection"]["web"]["name"]))
    kept = {text_of[identity] for identity in selection.filter(selection["kept"])["id"].to_pylist()}
    facts = dict(record["evidence"]["minhash_dedup"])
    evidence = pq.read_table(store.full(facts.pop("file")["name"])).to_pylist()
    removed = {
        text_of[row["id"]]: (text_of[row["kept_id"]], row["similarity"], row["cluster_size"])
        for row in evidence
    }
    ledger = next(ledger for ledger in outcome.ledgers if ledger.step == "minhash_dedup")
    assert kept | set(removed) == set(texts)
    assert not kept & set(removed)
    return Judged(kept, removed, facts, ledger, notes.texts)


def assert_supported(judged: Judged) -> None:
    """Every removed text is as similar to a text that was kept as its evidence says, and that is
    enough.
    """
    for text, (kept, claimed, _) in judged.removed.items():
        assert kept in judged.kept
        assert similarity(text, kept) == pytest.approx(claimed, abs=1e-6)
        assert claimed >= THRESHOLD


# -- chains -------------------------------------------------------------------------------------


def chain(theme: int, links: int) -> list[str]:
    """Windows of 94 words moved on by 10: neighbours 0.8 similar, one apart 0.64, two apart 0.5,
    nine apart nothing.
    """
    source = words(theme, 94 + 10 * links)
    return [" ".join(source[10 * link : 10 * link + 94]) for link in range(links)]


def test_of_a_chain_only_links_that_resemble_a_kept_link_go(tmp_path: Path) -> None:
    chains = [chain(theme, 4) for theme in range(300)]
    a, b, c, d = chains[0]
    assert [similarity(a, other) for other in (b, c, d)] == pytest.approx([0.8, 70 / 110, 0.5])
    judged = deduplicated(tmp_path, [text for links in chains for text in links])
    assert_supported(judged)
    joined = defaultdict(set)
    for text, (_, _, cluster) in judged.removed.items():
        joined[text.split()[0][:6]].add(cluster)
    whole = [links for links in chains if joined[links[0].split()[0][:6]] == {4}]
    # clusters that hold the whole chain, of which the closure would keep one document
    assert len(whole) > 150
    for links in whole:
        assert sum(text in judged.kept for text in links) >= 2


def test_of_a_long_chain_at_least_every_third_link_stays(tmp_path: Path) -> None:
    links = chain(0, 400)
    judged = deduplicated(tmp_path, links)
    assert_supported(judged)
    assert judged.facts["largest_cluster"] > 20
    assert judged.removed
    # A kept link stands for its two neighbours at most, since all others are below the threshold.
    places = [place for place, text in enumerate(links) if text in judged.kept]
    assert (
        max(
            after - before
            for before, after in zip([-1, *places], [*places, len(links)], strict=True)
        )
        <= 3
    )


# -- templates ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_pages_of_one_template_with_contents_of_their_own_all_stay(tmp_path: Path) -> None:
    frame = words(0, 104)
    pages = [" ".join([*frame, *words(theme, 50)]) for theme in range(1, 10_001)]
    assert similarity(pages[0], pages[1]) == 0.5
    judged = deduplicated(tmp_path, pages)
    assert judged.removed == {}
    assert len(judged.kept) == 10_000
    assert judged.facts["largest_cluster"] > 2_500
    assert judged.ledger.facts["largest_cluster"] == judged.facts["largest_cluster"]


@pytest.mark.slow
def test_templates_are_compared_within_the_bound_and_what_it_leaves_out_is_said(
    tmp_path: Path,
) -> None:
    frame = words(0, 104)
    pages = [" ".join([*frame, *words(theme, 25)]) for theme in range(1, 10_001)]
    # most of fifty million pairs are candidates
    assert 0.6 < similarity(pages[0], pages[1]) < THRESHOLD
    copies = [page.rsplit(" ", 1)[0] for page in pages[::500]]
    judged = deduplicated(tmp_path, pages + copies)
    # real copies are found in spite of the bound: they share many more bands
    assert set(judged.removed) == set(copies)
    assert_supported(judged)
    facts = judged.facts
    assert facts["largest_cluster"] > 8_000
    assert facts["comparisons"] <= 256 * len(pages + copies)
    assert facts["comparisons_skipped"] > 1_000_000
    assert 5_000 < facts["documents_bounded"] < len(pages + copies)
    assert judged.ledger.to_json()["facts"] == facts
    said = (
        f"{facts['comparisons_skipped']:,} comparisons of {facts['documents_bounded']:,} documents"
    )
    assert [note for note in judged.notes if "max_comparisons" in note and said in note]


def test_a_bound_that_does_not_bind_is_not_spoken_of(tmp_path: Path) -> None:
    judged = deduplicated(tmp_path, [text for theme in range(20) for text in chain(theme, 3)])
    assert (judged.facts["comparisons_skipped"], judged.facts["documents_bounded"]) == (0, 0)
    assert judged.facts["comparisons"] > 0
    assert not any("max_comparisons" in note for note in judged.notes)


# -- boilerplate --------------------------------------------------------------------------------


def test_articles_that_share_a_long_footer_all_stay(tmp_path: Path) -> None:
    footer = words(0, 240)
    articles = [" ".join([*words(theme, 100), *footer]) for theme in range(1, 2_001)]
    assert 0.5 < similarity(articles[0], articles[1]) < 0.6
    judged = deduplicated(tmp_path, articles)
    assert judged.removed == {}
    assert judged.facts["candidates"] > 500
    assert judged.facts["comparisons"] > 1_000


def test_an_article_under_another_footer_is_a_copy(tmp_path: Path) -> None:
    footers = [words(theme, 30) for theme in (0, 1)]
    articles = [words(theme, 300) for theme in range(2, 202)]
    texts = [" ".join([*article, *footer]) for article in articles for footer in footers]
    assert similarity(texts[0], texts[1]) > 0.8
    judged = deduplicated(tmp_path, texts)
    assert_supported(judged)
    assert len(judged.removed) > 170
    assert all(text.split()[0] == kept.split()[0] for text, (kept, _, _) in judged.removed.items())
