"""A small hostile corpus with everything a report speaks of, and the run over it."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from pipelines.executors.progress import Progress
from pipelines.recipe.load import load_recipe
from pipelines.run.driver import RunOutcome, run_recipe

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(2)>'
TURNED = "left \u202e right"
BENCHMARK = "a farmer has seventeen sheep and all but nine of them run away in the night so how many sheep does the farmer have left"

_CONTENT = (
    "river stone letter garden window market winter engine paper table silver morning harbour forest bridge candle travel "
    "answer question number mountain village kitchen teacher doctor history music science weather summer"
)
_WORDS = _CONTENT.split()
_STOPS = ["the", "be", "to", "of", "and", "that", "have", "with"]

RECIPE = """
name: hostile
seed: 3
corpus:
  sources:
    - {name: web, paths: [web.jsonl], id_field: id}
    - {name: other, paths: [other.jsonl], id_field: id}
  stages:
    - newlines
    - language: {keep: [en]}
    - heuristics: {rules: [gopher_quality], sources: [web]}
    - exact_dedup
    - minhash_dedup: {verify: 0.5}
    - decontaminate: {against: [bench.jsonl], overlap: 0.5}
  chunk_mib: 0.05
tokenizer: {vocab_size: 512, sample_mib: 1}
"""


def sentence(random: Random, words: int) -> str:
    """English enough for the rules: content words with stop words between."""
    return " ".join(random.choice(_STOPS if place % 2 else _WORDS) for place in range(words))


def write_corpus(folder: Path) -> Path:
    """Write sources, benchmark and recipe; returns the recipe's path."""
    random = Random(7)
    texts = [sentence(random, 120) for _ in range(60)]
    # near copies
    texts += [
        f"{text} {sentence(random, words)}"
        for text, words in zip(texts[:12], range(2, 62, 5), strict=True)
    ]
    texts += texts[:4]  # copies
    texts += [sentence(random, words) for words in (5, 20, 48, 49, 49)]  # too short
    # two rules at once
    texts += [f"{sentence(random, 30)} # # # # # # # # # # # # # # # # # # # # # # # #"]
    texts += [
        f"{SCRIPT} {IMAGE} {TURNED} {sentence(random, 80)}",
        f"{SCRIPT} {IMAGE} {TURNED} {sentence(random, 10)}",
    ]
    texts += [f"{SCRIPT} {text} {IMAGE}" for text in texts[20:23]]  # near copies with markup
    texts += [f"{sentence(random, 60)} {BENCHMARK} {sentence(random, 20)}"]
    texts += [
        f"{TURNED}. "
        + "Der schnelle braune Fuchs springt über den faulen Hund, und niemand weiß warum er das eigentlich tut. "
        * 6
    ]
    lines = [
        json.dumps(
            {"id": f"{IMAGE}{place}", "url": f"https://example.org/{SCRIPT}/{place}", "text": text}
        )
        for place, text in enumerate(texts)
    ]
    lines[5:5] = [
        '{"id": "broken", "text": <script>alert(3)</script>',
        json.dumps({"id": "no text"}),
    ]
    (folder / "web.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "other.jsonl").write_text(
        "".join(
            json.dumps({"id": str(place), "text": sentence(random, 90)}) + "\n"
            for place in range(15)
        )
    )
    (folder / "bench.jsonl").write_text(json.dumps({"text": BENCHMARK}) + "\n")
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE)
    return recipe


def run(
    recipe: Path,
    runs: Path,
    overrides: tuple[str, ...] = (),
    progress: Progress | None = None,
    until: str = "shards",
) -> RunOutcome:
    return run_recipe(load_recipe(recipe, overrides), str(runs), progress=progress, until=until)
