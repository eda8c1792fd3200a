"""The script that compares exported tokenizers, in small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tokenizer.conftest import corpus

GROUPS = ["lines", "documents", "random", "spelling", "chats"]


@pytest.mark.slow
def test_it_counts_every_group_and_finds_no_difference(root: Path, tmp_path: Path) -> None:
    rows = [json.dumps({"text": text}, ensure_ascii=False) for text in corpus(200, 4)]
    (tmp_path / "texts.jsonl").write_text("\n".join(rows), encoding="utf-8")
    done = subprocess.run(
        [
            sys.executable, "benchmarks/tokenizer_export.py", "--lines", "500",
            "--vocabulary", "600", "--texts", str(tmp_path / "texts.jsonl"),
        ],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root), "PYTHONSAFEPATH": ""}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    (peer,) = json.loads(done.stdout)["peers"]
    groups = peer["groups"]
    assert list(groups) == GROUPS
    assert groups["random"]["texts"] == 500
    assert groups["lines"]["texts"] + groups["spelling"]["texts"] >= 300
    assert all(groups[name]["ids"] for name in GROUPS)
    assert not any(one["different"] for one in groups.values())
