"""A rule whose code changes must get a new version: the recorded hashes are held against the
sources.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from pipelines.run import rule_versions


def test_no_rule_changed_without_a_new_version() -> None:
    assert rule_versions.stale(rule_versions.current(), rule_versions.recorded()) == []


def test_a_changed_source_under_the_same_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every rule is tried: one more statement in its own module must be noticed."""
    before = rule_versions.current()
    original = rule_versions._tree
    for label, (_, module) in rule_versions.rules().items():
        rule_versions.code_hash.cache_clear()
        rule_versions._normalised.cache_clear()

        def changed(name: str, target: str = module) -> ast.Module:
            tree = original(name)
            if name == target:
                tree.body.append(ast.parse("changed = 1").body[0])
            return tree

        monkeypatch.setattr(rule_versions, "_tree", changed)
        problems = rule_versions.stale(rule_versions.current(), before)
        assert any(problem.startswith(f"{label}: its code changed") for problem in problems), label
        monkeypatch.undo()
    rule_versions.code_hash.cache_clear()
    rule_versions._normalised.cache_clear()


def test_a_changed_callee_in_another_file_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = rule_versions.current()
    original = rule_versions._tree
    rule_versions.code_hash.cache_clear()
    rule_versions._normalised.cache_clear()
    monkeypatch.setattr(
        rule_versions,
        "_tree",
        lambda name: original("dedup.near.lsh") if name == "dedup.words" else original(name),
    )
    problems = rule_versions.stale(rule_versions.current(), before)
    monkeypatch.undo()
    rule_versions.code_hash.cache_clear()
    rule_versions._normalised.cache_clear()
    assert {problem.split(":")[0] for problem in problems} >= {
        "minhash_dedup.BandKeysMeasure",
        "decontaminate.OverlapMeasure",
    }


def test_comments_and_docstrings_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = []
    for text in (
        '"""A."""\ndef f(x):\n    """B."""\n    return x\n',
        "# c\ndef f(x):\n    '''Other.'''\n\n    return x  # d\n",
    ):
        (tmp_path / "dedup").mkdir(exist_ok=True)
        (tmp_path / "dedup" / "m.py").write_text(text)
        monkeypatch.setattr(rule_versions, "HOUSE", tmp_path)
        for cached in (rule_versions.code_hash, rule_versions._normalised, rule_versions._imports):
            cached.cache_clear()
        hashes.append(rule_versions.code_hash("dedup.m"))
    for cached in (rule_versions.code_hash, rule_versions._normalised, rule_versions._imports):
        cached.cache_clear()
    assert hashes[0] == hashes[1]


def test_a_raised_version_asks_only_to_be_recorded() -> None:
    now = {"rule": {"version": 2, "code": "b"}}
    assert rule_versions.stale(now, {"rule": {"version": 1, "code": "a"}}) == [
        "rule: version 2 is not recorded; run make versions"
    ]
    assert rule_versions.stale(now, {}) == ["rule: not recorded; run make versions"]
    assert rule_versions.stale({}, now) == [
        "rule: recorded, but no longer a rule; run make versions"
    ]
