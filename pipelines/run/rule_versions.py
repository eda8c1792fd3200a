"""Versions of the rules that decide bytes, held against the code that decides them.

A rule's version is part of every content key. This module knows, for each rule, the definitions
that decide its output. :mod:`pipelines.run.source_code.code_digests` makes a digest of what they
and all they reach say, wherever it lies, and ``rule_versions.json`` keeps it beside the version. A
test compares; code that changed under an unchanged version fails it. After raising the version::

    python -m pipelines.run.rule_versions     # records the new digests

Code that only moved to another module keeps its digest.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import artifacts
from artifacts.floors import FLOORS
from pipelines import readers, stages
from pipelines.chunks import reading, resources
from pipelines.chunks import work as chunk_work
from pipelines.comparisons import equal_keys, quality, whole
from pipelines.comparisons.near import candidates, compare, decide, gather, rounds, verify
from pipelines.comparisons.spans import cut, work
from pipelines.run.source_code.code_digests import CodeDigests
from pipelines.run.source_code.definitions import Definition, House
from pipelines.shards import encode, split_work, write
from pipelines.shards import tokenizer as shard_tokenizer
from pipelines.stages import chunk_steps
from pipelines.stages.decontaminate import BenchmarkIndex
from pipelines.stages.exact_dedup import ExactCompare
from pipelines.stages.minhash_dedup import MinHashCompare
from pipelines.writers import kept_documents, run_tables

HOUSE = Path(artifacts.__file__).resolve().parent.parent
RECORD = Path(__file__).with_name("rule_versions.json")

# Code that carries bytes but does not choose them: a change here changes no output.
CARRIERS = frozenset(
    f"artifacts.{name}"
    for name in ("errors", "ledger", "lock", "paths", "publish", "fingerprints", "settings", "jit")
) | {
    "artifacts.extras",
    "pipelines.executors.base",
    "pipelines.executors.killable",
    "pipelines.executors.killable_child",
    "pipelines.recipe.load",
    "pipelines.recipe.fields",
    "pipelines.recipe.mistakes",
    "pipelines.recipe.yaml_lines",
    "pipelines.stages",
    "pipelines.stages.base",
    "pipelines.corpus.chunk",
    "pipelines.corpus.outcomes",
}

# How steps take a chunk through any stage's rules: the run's own work, and of no stage alone.
CARRIERS_OF_STAGES = CARRIERS | {
    f"pipelines.stages.{name}" for name in ("bounded_steps", "chunk_steps", "chunk_work")
}


@dataclass(frozen=True)
class Rule:
    """``roots``: the functions and classes that decide a rule's output."""

    version: int
    roots: tuple[Definition, ...]


def _rule(version: int, *roots: Any) -> Rule:
    return Rule(version, tuple(Definition(root.__module__, root.__qualname__) for root in roots))


def rules() -> dict[str, Rule]:
    """Every rule, by its label."""
    return _work_rules() | _stage_rules()


def _work_rules() -> dict[str, Rule]:
    """What runs do whatever their stages."""
    tables = (run_tables.final_selection, run_tables.collect_quarantine)
    kept = (kept_documents.write_kept, kept_documents.removal_pairs, kept_documents.write_pairs)
    near = (candidates.scatter, candidates.group, candidates.cluster)
    in_rounds = (rounds.order, rounds.match, rounds.settle, rounds.conclude)
    row_steps = (chunk_steps.MeasureStep, chunk_steps.RewriteStep, chunk_steps.ChooseStep)
    chunk_tasks = (chunk_work.run_chunk, chunk_work.read_chunk, *row_steps)
    return {
        "read": _rule(reading.ReadStep.version, reading.ReadStep, readers.read),
        "unique": _rule(reading.RemoveRowsStep.version, reading.RemoveRowsStep, *chunk_tasks),
        "equal_keys": _rule(equal_keys.VERSION, equal_keys.find_duplicates),
        "run_tables": _rule(run_tables.VERSION, *tables),
        "span_cut": _rule(cut.VERSION, cut.cut_chunk, work.run_phase),
        "dedup_quality": _rule(quality.VERSION, quality.measure_quality),
        "bands": _rule(split_work.BANDS_VERSION, split_work.cut_source),
        "kept_documents": _rule(kept_documents.VERSION, *kept),
        "near.candidates": _rule(candidates.VERSION, *near),
        "near.gather": _rule(gather.VERSION, gather.gather),
        "near.verify": _rule(verify.VERSION, verify.verify),
        "near.rounds": _rule(rounds.VERSION, *in_rounds),
        "near.decide": _rule(decide.VERSION, decide.evidence, decide.choose),
        "tokenizer": _rule(shard_tokenizer.TOKENIZER_VERSION, shard_tokenizer.train_tokenizer),
        "encode": _rule(encode.ENCODE_VERSION, encode.encode_chunk),
        "shards": _rule(write.SHARDS_VERSION, write.write_shards),
    }


def _stage_rules() -> dict[str, Rule]:
    """The rules of all stages: every class with a version in :mod:`pipelines.stages`."""
    # the key of an outcome has the rule's version alone, not one of what carries the rule out
    carried_out: dict[type, tuple[Any, ...]] = {
        BenchmarkIndex: (resources.prepare,),
        ExactCompare: (whole.compare_corpus,),
        MinHashCompare: (compare.compare_near,),
    }
    found: dict[str, Rule] = {}
    for module in pkgutil.iter_modules(stages.__path__):
        loaded = importlib.import_module(f"{stages.__name__}.{module.name}")
        for name, value in vars(loaded).items():
            if (
                isinstance(value, type)
                and value.__module__ == loaded.__name__
                and isinstance(vars(value).get("version"), int)
            ):
                further = carried_out.get(value, ())
                found[f"{module.name}.{name}"] = _rule(vars(value)["version"], value, *further)
    return found


class RuleCode:
    """The code behind rules, as the files of the house are when they are first looked at."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.working = CodeDigests(house, CARRIERS)
        self.deciding = CodeDigests(house, CARRIERS_OF_STAGES)
        # a stage makes several rules, each of which counts for itself alone
        made = {
            f"{root.module}.{root.name}" for rule in _stage_rules().values() for root in rule.roots
        }
        self.making = CodeDigests(house, CARRIERS_OF_STAGES | made)

    def digest(self, rule: Rule) -> str:
        """Digest of all code that decides a rule's output, from the settings in a recipe on."""
        deciding = self._code_of(rule).digest(rule.roots)
        making = self.making.digest(self.makers(rule))
        return hashlib.blake2b(f"{deciding} {making}".encode(), digest_size=10).hexdigest()

    def reach(self, rule: Rule) -> set[Definition]:
        """All definitions that decide a rule's digest."""
        return self._code_of(rule).reach(rule.roots) | self.making.reach(self.makers(rule))

    def makers(self, rule: Rule) -> list[Definition]:
        """Definitions beside a rule of a stage that make it: the stage, as a rule."""
        root = rule.roots[0]
        if not _of_a_stage(rule):
            return []
        names = self.house.module(root.module)
        assert names is not None
        beside = (Definition(root.module, name) for name in names.statements)
        return [one for one in beside if one != root and root in self.deciding.text(one).reached]

    def _code_of(self, rule: Rule) -> CodeDigests:
        return self.deciding if _of_a_stage(rule) else self.working


def _of_a_stage(rule: Rule) -> bool:
    return rule.roots[0].module.startswith(f"{stages.__name__}.")


@cache
def house_code() -> RuleCode:
    """The code of this installation."""
    return RuleCode(House(HOUSE, FLOORS))


def current() -> dict[str, dict[str, Any]]:
    """Version and code digest of every rule."""
    code = house_code()
    return {
        label: {"version": rule.version, "code": code.digest(rule)}
        for label, rule in sorted(rules().items())
    }


def recorded() -> dict[str, dict[str, Any]]:
    loaded: dict[str, dict[str, Any]] = json.loads(RECORD.read_text())
    return loaded


def stale(now: dict[str, dict[str, Any]], then: dict[str, dict[str, Any]]) -> list[str]:
    """Rules whose code changed while their version did not, and rules never recorded, each with the
    fix.
    """
    problems = []
    for label, entry in now.items():
        known = then.get(label)
        if known is None:
            problems.append(f"{label}: not recorded; run make versions")
        elif known["code"] != entry["code"] and known["version"] == entry["version"]:
            problems.append(
                f"{label}: its code changed, its version is still {entry['version']}; raise it, "
                "then run make versions"
            )
        elif known != entry:
            problems.append(
                f"{label}: version {entry['version']} is not recorded; run make versions"
            )
    return problems + [
        f"{label}: recorded, but no longer a rule; run make versions"
        for label in then
        if label not in now
    ]


def main() -> None:
    RECORD.write_text(json.dumps(current(), indent=1) + "\n")
    print(f"recorded {len(current())} rules in {RECORD.name}")


if __name__ == "__main__":
    main()
