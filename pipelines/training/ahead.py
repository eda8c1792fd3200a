"""What can be said of a training before there is a corpus."""

from __future__ import annotations

from artifacts.errors import UserError
from mixtures.spec.lengths import phase_tokens, run_tokens
from pipelines.recipe.load import LoadedRecipe

STABLE = ("wsd", "constant")
"""Schedules with a stable stage, which a branch can leave."""


def check_training(loaded: LoadedRecipe) -> None:
    """Refuse a warm-up and branches that no training of this recipe can have. Raises: UserError."""
    check_warmup(loaded)
    check_branches(loaded)


def check_branches(loaded: LoadedRecipe) -> None:
    """Raises: UserError for branches of a schedule without a stable stage."""
    kind = loaded.recipe.train.schedule.kind
    if loaded.recipe.branches and kind not in STABLE:
        raise loaded.file.error(
            ("train", "schedule", "kind"),
            "only a run with a stable stage can be branched",
            found=kind,
            allowed=STABLE,
            fix="use one of these, or leave branches out",
        )


def check_warmup(loaded: LoadedRecipe) -> None:
    """Refuse a warm-up that no plan of this recipe can hold. Raises: UserError.

    Phases begin at whole batches, so each has at most one step more than its tokens come to. What
    follows the warm-up is a decay's start, a cosine's fall to the end, or of a constant rate the
    end.
    """
    mixture, schedule = loaded.recipe.mixture, loaded.recipe.train.schedule
    if mixture is None:
        return
    decays = schedule.kind == "wsd" and any(phase.decay for phase in mixture.phases)
    falls = schedule.kind in ("cosine", "cosine_loop")
    if falls and schedule.period is not None:
        return  # a period of its own, which the schedule holds against its warm-up
    most = _steps(loaded, decays) - (1 if falls else 0)
    if schedule.warmup > most:
        ends = "its decay starts" if decays else "its last step" if falls else "it ends"
        raise loaded.file.error(
            ("train", "schedule", "warmup"),
            f"the warm-up is longer than the training is before {ends}",
            found=schedule.warmup,
            allowed=[f"up to {most} steps"],
            fix=(
                "shorten the warm-up, or give the phases "
                f"{'before the decay ' if decays else ''}more tokens"
            ),
        )


def _steps(loaded: LoadedRecipe, to_the_decay: bool) -> int:
    """Steps of a recipe's phases, or of those before its decay, at most."""
    mixture, batch = loaded.recipe.mixture, loaded.recipe.train.batch_tokens
    assert mixture is not None
    try:
        whole = run_tokens(mixture.phases, mixture.tokens)
        lengths = phase_tokens(mixture.phases, whole, whole=True)
    except UserError as error:
        raise error.relocated(loaded.place) from None
    steps = 0
    for phase, tokens in zip(mixture.phases, lengths, strict=True):
        if phase.decay and to_the_decay:
            break
        batch = phase.batch_tokens or batch
        steps += -(-tokens // batch)
    return steps
