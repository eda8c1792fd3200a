"""A rule whose code changes must get a new version: the recorded digests are held against the
sources.
"""

from __future__ import annotations

import ast
import copy
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipelines import stages
from pipelines.run import rule_versions
from pipelines.run.rule_versions import FLOORS, HOUSE, RuleCode
from pipelines.run.source_code.definitions import Definition, House

RULES = rule_versions.rules()


@pytest.fixture(scope="module")
def code() -> RuleCode:
    return RuleCode(House(HOUSE, FLOORS))


def digests(code: RuleCode) -> dict[str, dict[str, Any]]:
    return {
        label: {"version": rule.version, "code": code.digest(rule)}
        for label, rule in sorted(RULES.items())
    }


def one_more(statement: ast.stmt) -> ast.stmt:
    """A copy of a statement that says one thing more."""
    statement = copy.deepcopy(statement)
    more = ast.parse("changed = 1").body[0]
    if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.For | ast.If):
        statement.body.append(more)
    elif isinstance(statement, ast.Assign | ast.AugAssign | ast.AnnAssign):
        assert statement.value is not None
        statement.value = ast.Tuple([statement.value, ast.Constant("changed")], ast.Load())
    else:
        raise AssertionError(f"no change known for {type(statement).__name__}")
    return statement


@contextmanager
def changed(
    code: RuleCode, definition: Definition, change: Callable[[ast.stmt], ast.stmt] = one_more
) -> Iterator[None]:
    """The house with the first statement of a definition changed."""
    statements = code.house.statements(definition)
    first = statements[0]

    def forget() -> None:
        for seen in (code.working, code.deciding, code.making):
            seen.texts.pop(definition, None)
            seen.digests.clear()

    statements[0] = change(first)
    forget()
    try:
        yield
    finally:
        statements[0] = first
        forget()


def noticed(code: RuleCode, before: dict[str, dict[str, Any]]) -> set[str]:
    """Rules whose code changed under an unchanged version."""
    return {
        problem.split(":")[0]
        for problem in rule_versions.stale(digests(code), before)
        if ": its code changed" in problem
    }


def test_no_rule_changed_without_a_new_version() -> None:
    assert rule_versions.stale(rule_versions.current(), rule_versions.recorded()) == []


@pytest.mark.slow
def test_a_change_of_its_own_code_is_noticed_for_every_rule(code: RuleCode) -> None:
    """One more statement in each function and class that a rule starts from."""
    before = digests(code)
    for label, rule in RULES.items():
        for root in rule.roots:
            with changed(code, root):
                assert label in noticed(code, before), (label, root)
    assert noticed(code, before) == set()


@pytest.mark.slow
def test_every_rule_of_a_stage_counts_with_what_makes_it(code: RuleCode) -> None:
    """A stage turns settings into a rule; a change there is noticed for the rules it makes."""
    before = digests(code)
    for label, rule in RULES.items():
        makers = code.makers(rule)
        assert bool(makers) == ("." in label and not label.startswith("near.")), label
        for maker in makers:
            with changed(code, maker):
                assert label in noticed(code, before), (label, maker)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("definition", "labels"),
    [
        pytest.param(
            Definition("dedup.words", "scan_words"),
            {"minhash_dedup.BandKeysMeasure", "decontaminate.OverlapMeasure", "span_cut"},
            id="words of a text",
        ),
        pytest.param(
            Definition("pipelines.corpus.keep_policy", "parse_keep_policy"),
            {"exact_dedup.ExactCompare", "minhash_dedup.MinHashCompare", "line_dedup.LineSpans"},
            id="keep policy of a recipe",
        ),
        pytest.param(
            Definition("dedup.near.verify", "greedy_keep"),
            {"near.verify", "minhash_dedup.MinHashCompare"},
            id="verdict on near-duplicates",
        ),
        pytest.param(
            Definition("pipelines.corpus.view", "CorpusView"),
            {"bands", "exact_dedup.ExactCompare", "tokenizer"},
            id="object that is passed in",
        ),
        pytest.param(Definition("pipelines.readers.jsonl.scan", "HEX"), {"read"}, id="constant"),
        pytest.param(Definition("tokenizer.sample", "weighted_sample"), {"tokenizer"}, id="sample"),
    ],
)
def test_a_changed_callee_in_another_file_is_noticed(
    code: RuleCode, definition: Definition, labels: set[str]
) -> None:
    before = digests(code)
    with changed(code, definition):
        assert noticed(code, before) >= labels


@pytest.mark.slow
def test_a_change_of_anything_in_reach_is_noticed(code: RuleCode) -> None:
    """Two hundred of the definitions that rules reach: each decides the digest of all that do."""
    before = digests(code)
    reach = {label: code.reach(rule) for label, rule in RULES.items()}
    reached = sorted(set().union(*reach.values()))
    assert len(reached) > 900
    for definition in random.Random(7).sample(reached, 200):
        with changed(code, definition):
            wanted = {label for label, inside in reach.items() if definition in inside}
            assert noticed(code, before) == wanted, definition


@pytest.mark.slow
def test_a_docstring_changes_no_digest(code: RuleCode) -> None:
    before = digests(code)

    def told(statement: ast.stmt) -> ast.stmt:
        statement = copy.deepcopy(statement)
        assert isinstance(statement, ast.FunctionDef | ast.ClassDef)
        statement.body.insert(0, ast.Expr(ast.Constant("Another word.")))
        return statement

    for rule in RULES.values():
        with changed(code, rule.roots[0], told):
            assert rule_versions.stale(digests(code), before) == []


def test_carriers_are_modules_and_out_of_reach(code: RuleCode) -> None:
    for carrier in rule_versions.CARRIERS:
        assert code.house.module(carrier) is not None, carrier
    for label, rule in RULES.items():
        inside = {definition.module for definition in code.reach(rule)}
        assert not inside & rule_versions.CARRIERS, label


MOVES = {
    "artifacts/tables.py": "artifacts/kept/parquet.py",
    "dedup/runs.py": "dedup/near/equal_runs.py",
    "pipelines/corpus/keep_policy.py": "pipelines/corpus/policy.py",
    "pipelines/corpus/selection.py": "pipelines/corpus/choice.py",
    "tokenizer/sample.py": "tokenizer/sampling.py",
}


@pytest.mark.slow
def test_moved_modules_of_this_house_leave_every_digest(code: RuleCode, tmp_path: Path) -> None:
    for floor in FLOORS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(HOUSE / floor, tmp_path / floor, ignore=ignored)
    for old, new in MOVES.items():
        (tmp_path / new).parent.mkdir(exist_ok=True)
        (tmp_path / old).rename(tmp_path / new)
    for path in tmp_path.rglob("*.py"):
        text = path.read_text()
        for old, new in MOVES.items():
            before, after = (name.removesuffix(".py").replace("/", ".") for name in (old, new))
            package, stem = before.rsplit(".", 1)
            home, name = after.rsplit(".", 1)
            text = text.replace(f"from {before} ", f"from {after} ")
            text = text.replace(
                f"from {package} import {stem}\n", f"from {home} import {name} as {stem}\n"
            )
        path.write_text(text)
    moved = RuleCode(House(tmp_path, FLOORS))
    assert digests(moved) == digests(code)
    gone = {definition for rule in RULES.values() for definition in moved.reach(rule)}
    assert {"pipelines.corpus.policy", "dedup.near.equal_runs"} <= {one.module for one in gone}


def test_every_stage_of_a_recipe_makes_rules_with_versions(code: RuleCode) -> None:
    made = {maker.name for rule in RULES.values() for maker in code.makers(rule)}
    assert {stage.__name__ for stage in stages.STAGES.values()} <= made


def test_a_raised_version_asks_only_to_be_recorded() -> None:
    now = {"rule": {"version": 2, "code": "b"}}
    assert rule_versions.stale(now, {"rule": {"version": 1, "code": "a"}}) == [
        "rule: version 2 is not recorded; run make versions"
    ]
    assert rule_versions.stale(now, {}) == ["rule: not recorded; run make versions"]
    assert rule_versions.stale({}, now) == [
        "rule: recorded, but no longer a rule; run make versions"
    ]


def test_main_records_what_the_sources_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rule_versions, "RECORD", tmp_path / "versions.json")
    rule_versions.main()
    assert rule_versions.recorded() == rule_versions.current()
    assert f"recorded {len(RULES)} rules" in capsys.readouterr().out
