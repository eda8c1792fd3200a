"""What can be said of a training before there is a corpus."""

from __future__ import annotations

from artifacts.errors import UserError
from mixtures.spec.lengths import phase_tokens, run_tokens
from pipelines.recipe.load import LoadedRecipe


def check_warmup(loaded: LoadedRecipe) -> None:
    """Refuse a warm-up that no plan of this recipe can hold. Raises: UserError.

    Phases begin at whole batches, so each has at most one step more than its tokens come to.
    """
    mixture, train = loaded.recipe.mixture, loaded.recipe.train
    if mixture is None or train.schedule.kind != "wsd":
        return
    steps, batch = 0, train.batch_tokens
    try:
        whole = run_tokens(mixture.phases, mixture.tokens)
        lengths = phase_tokens(mixture.phases, whole, whole=True)
    except UserError as error:
        raise error.relocated(loaded.place) from None
    for phase, tokens in zip(mixture.phases, lengths, strict=True):
        if phase.decay:
            break
        batch = phase.batch_tokens or batch
        steps += -(-tokens // batch)
    if train.schedule.warmup > steps:
        ends = "its decay starts" if any(phase.decay for phase in mixture.phases) else "it ends"
        raise loaded.file.error(
            ("train", "schedule", "warmup"),
            f"the warm-up is longer than the training is before {ends}",
            found=train.schedule.warmup,
            allowed=[f"up to {steps} steps"],
            fix="shorten the warm-up, or give the phases before the decay more tokens",
        )
