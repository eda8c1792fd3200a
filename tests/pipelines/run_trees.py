"""Whole run folders as dictionaries, so that two runs can be compared byte for byte."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import orjson

AREAS = (
    "documents",
    "signals",
    "selection",
    "evidence",
    "quarantine",
    "tokenizer",
    "shards",
    "work",
)


def tree(run: Path) -> dict[str, str]:
    """Relative path -> hash of every published file of a run."""
    files = (
        path
        for area in AREAS
        for path in sorted((run / area).rglob("*"))
        if path.is_file() and not path.name.startswith(".writing-")
    )
    return {
        str(path.relative_to(run)): hashlib.blake2b(path.read_bytes(), digest_size=12).hexdigest()
        for path in files
    }


def trained(run: Path) -> dict[str, str]:
    """Relative path -> hash of all weights, moments, plans and step metrics of a run's
    trainings.
    """
    names = (
        "weights.safetensors",
        "moments.safetensors",
        "plan.json",
        "train.jsonl",
        "validation.jsonl",
        "data.jsonl",
    )
    files = sorted(path for path in (run / "training").rglob("*") if path.name in names)
    return {
        str(path.relative_to(run)): hashlib.blake2b(path.read_bytes(), digest_size=12).hexdigest()
        for path in files
    }


def record(run: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = orjson.loads((run / "run.json").read_bytes())
    return loaded


def products(run: Path) -> dict[str, str]:
    """What does not depend on how records lie in files: final selection, evidence, tokenizer and
    shards, by content.
    """
    content = record(run)
    found = {f"selection/{source}": ref["checksum"] for source, ref in content["selection"].items()}
    found |= {
        f"evidence/{step}": entry["file"]["checksum"] for step, entry in content["evidence"].items()
    }
    found["tokenizer"] = content["tokenizer"]["file"]["checksum"]
    for source, entry in content["shards"].items():
        for path in sorted((run / entry["folder"]).glob("*")):
            if path.name != "manifest.json":
                found[f"shards/{source}/{path.name}"] = hashlib.blake2b(
                    path.read_bytes(), digest_size=12
                ).hexdigest()
    return found
