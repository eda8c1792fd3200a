"""Make ``run.tar.xz`` beside this file: a run by a release whose keys held presets by name.

    git archive 46972f7 | tar x -C CHECKOUT
    python tests/pipelines/former_run/make.py CHECKOUT

In it: a recipe, its corpus, and a run with three trainings of a model of width 2. ``train.seed`` 1
is stopped within its decay, 2 is finished with its branch, and 3, stopped too, has the preset's own
``dim_model_base``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ARCHIVE = Path(__file__).with_name("run.tar.xz")
ENTRY = "from pipelines.launch import main; main()"
STOPPED_AT = 10
LEFT_OUT = (".lock", "report.html", "input-digests.json")

WORDS = re.findall(
    r"\w+",
    "river boat mill bridge grass water dinner home stone light winter road letter garden window "
    "morning voice paper orchard lantern harbour meadow thunder copper",
)

RECIPE = """
name: former
seed: 1
corpus:
  sources: [{name: web, paths: [web.jsonl]}]
tokenizer: {vocab_size: 512}
shards: {hold_out: 0.1}
mixture:
  phases:
    - {name: stable, tokens: 512, weights: {web: 1.0}}
    - {name: decay, decay: true, tokens: 256, weights: {web: 1.0}}
branches:
  - name: other
    phases: [{name: tail, decay: true, tokens: 256, weights: {web: 1.0}}]
model: {width: 2, layers: 1, heads: 1, kv_heads: 1, head_dim: 2, ff: 2, dim_model_base: 2}
train:
  sequence_length: 32
  batch_tokens: 64
  threads: 1
  device: cpu
  precision: fp32
  schedule: {peak: 0.01, warmup: 2, decay: {shape: linear}}
  checkpoint_every: 100
  validate_every: 100
  tensorboard: false
"""

TRAININGS = (
    (f"--until-step={STOPPED_AT}",),
    ("--set=train.seed=2",),
    ("--until-step=3", "--set=train.seed=3", "--set=model.dim_model_base=null"),
)


def documents() -> str:
    """Eighty texts of the words above, a JSON line each."""
    lines = []
    for number in range(80):
        places = [
            (number * 7 + place * place * (number % 5 + 1) + place) % len(WORDS)
            for place in range(12 + number % 9)
        ]
        text = " ".join(WORDS[place] for place in places) + "."
        lines.append(json.dumps({"text": text}) + "\n")
    return "".join(lines)


def call(checkout: str, folder: Path, *arguments: str) -> None:
    environment = {**os.environ, "PYTHONPATH": checkout, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-c", ENTRY, *arguments], cwd=folder, env=environment, check=True
    )


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def main(checkout: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "recipe.yaml").write_text(RECIPE)
        (folder / "web.jsonl").write_text(documents())
        call(checkout, folder, "run", "recipe.yaml", "--until", "shards")
        for options in TRAININGS:
            call(checkout, folder, "train", "recipe.yaml", *options)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        with tarfile.open(ARCHIVE, "w:xz") as archive:
            for path in files:
                if path.name not in LEFT_OUT:
                    archive.add(path, path.relative_to(folder), filter=_anonymous)


if __name__ == "__main__":
    main(str(Path(sys.argv[1]).resolve()))
