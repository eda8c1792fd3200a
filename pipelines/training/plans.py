"""Freeze the recipe's mixture and its branches over the shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from artifacts.errors import UserError
from mixtures.freeze.freeze import Plan, branch, freeze
from mixtures.loader.loader import open_streams
from mixtures.parts.part_files import PartFiles
from mixtures.spec.bands import names_meant, source_of
from mixtures.spec.spec import PhaseSpec
from pipelines.recipe.load import LoadedRecipe
from pipelines.recipe.mistakes import in_branch
from pipelines.report.losses import gives_documents, why_lost
from pipelines.training.ahead import check_branches
from pipelines.training.materials import Materials
from tokenizer.shards.reader import ShardSource


def plan_mixture(loaded: LoadedRecipe, materials: Materials) -> Plan:
    """Freeze the recipe's mixture over the shards. Raises: UserError with the numbers when it
    cannot be met.
    """
    spec, train = loaded.recipe.mixture, loaded.recipe.train
    if spec is None:
        raise UserError(
            "the recipe has no mixture",
            file=loaded.file.path,
            field="mixture",
            fix="add mixture: {phases: [...]}; see docs/recipes.md",
        )
    sources, tokens = materials.sources(), (train.sequence_length, train.batch_tokens)
    try:
        _check_sources(spec.phases, sources, materials.record)
        bos = materials.tokenizer.bos_id
        plan = freeze(
            spec,
            sources,
            sequence_length=tokens[0],
            batch_tokens=tokens[1],
            seed=loaded.recipe.seed,
            bos_id=bos,
        )
        train.schedule_of(plan)
    except UserError as error:
        raise error.relocated(loaded.place) from None
    return plan


def check_followed(loaded: LoadedRecipe, plan: Plan, materials: Materials) -> None:
    """Raises: UserError when the recipe cannot be trained with a plan that was frozen elsewhere:
    for other shards, windows, batches or another tokenizer, or with other ends than its schedule
    says.
    """
    from trainer.loop.training import check_plan

    missing = next((name for name in plan.names if name not in materials.folders), None)
    if missing is not None:
        raise UserError(
            "the plan shows a source of which the run has no shards",
            parameter="plan",
            found=missing,
            allowed=sorted(materials.folders),
            fix="follow a plan that was frozen over this run's shards",
        )
    train = loaded.recipe.train
    try:
        check_plan(plan, train, materials.tokenizer)
        open_streams(plan, materials.folders)
        train.schedule_of(plan)
    except UserError as error:
        raise error.relocated(loaded.place) from None


def plan_branches(loaded: LoadedRecipe, materials: Materials, plan: Plan) -> dict[str, Plan]:
    """The plans of the recipe's branches by name, before anything is trained. Raises: UserError as
    :func:`plan_mixture`.
    """
    check_branches(loaded)
    plans: dict[str, Plan] = {}
    sources = materials.sources() if loaded.recipe.branches else {}
    start = stable_steps(plan)
    for entry in loaded.recipe.branches:
        try:
            _check_sources(entry.phases, sources, materials.record)
            plans[entry.name] = branch(plan, start, entry.phases, sources, entry.name)
        except UserError as error:
            raise error.relocated(in_branch(entry.name)).relocated(loaded.place) from None
    tokens = {name: made.tokens - made.tokens_before(start) for name, made in plans.items()}
    if len(set(tokens.values())) > 1:
        raise loaded.file.error(
            ("branches",),
            "branches are compared at equal tokens",
            found=", ".join(f"{name} {count:,}" for name, count in tokens.items()),
            fix="give the phases of every branch the same tokens in all",
        )
    return plans


def _check_sources(
    phases: Sequence[PhaseSpec],
    sources: Mapping[str, ShardSource | PartFiles],
    record: dict[str, Any],
) -> None:
    """Raises: UserError at the first source that is to be shown and has no shards, with what was
    asked, what there is, and where its documents went.
    """
    for phase in phases:
        for name, field in phase.shown.items():
            if not names_meant(name, sources) and source_of(name) == name:
                tokens = round(phase.weights.get(name, 0.0) * (phase.tokens or 0))
                asked = f"{tokens:,} tokens asked of {name}" if tokens else name
                why = why_lost(record, name) if record else []
                said = f": {', '.join(why[:3])}" if why else ""
                raise UserError(
                    "a source without shards",
                    field=(*phase.address, *field),
                    found=f"{asked}; none of its documents was kept{said}",
                    allowed=[
                        f"{other} ({source.manifest.tokens:,} tokens)"
                        for other, source in sorted(sources.items())
                    ],
                    fix=_MENDED[bool(record) and not gives_documents(record, name)],
                )


_MENDED = {
    False: (
        "leave it out of the mixture, or loosen the stages that drop its documents: the report "
        "shows them"
    ),
    True: (
        "correct the fields of the source, or its files: none of its records became a document; "
        "the report shows the quarantine"
    ),
}
"""How to mend a source without shards, by whether reading it gave nothing."""


def stable_steps(plan: Plan) -> int:
    """Steps before the decay: where branches leave; all of them when nothing decays."""
    return next((segment.first_step for segment in plan.segments if segment.decay), plan.steps)


def asked_of_held_out(
    plan: Plan, branches: Mapping[str, Plan]
) -> tuple[list[str], int, tuple[str, ...]]:
    """What of the held-out shards a training and its branches are measured on, as
    :meth:`~pipelines.training.materials.Materials.held_out` is asked for it.
    """
    shown = [name for one in (plan, *branches.values()) for name in one.names]
    sources = [*shown, *map(source_of, shown)]
    return sources, plan.sequence_length, tuple(plan.rules.hold_out)
