"""The model that a training starts at, where its recipe names one (``start``): weights, shape and
tokenizer of a checkpoint, trained here or imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from artifacts.commands import Command
from artifacts.errors import UserError
from artifacts.paths import Store
from pipelines.recipe.load import LoadedRecipe
from trainer.checkpoints.paths import RESTORE
from trainer.loop.settings import ModelSettings
from trainer.shapes.config import ModelConfig

if TYPE_CHECKING:
    from tokenizer.encode import Tokenizer
    from trainer.checkpoints.checkpoint import Checkpoint
    from trainer.loop.start import Start


@dataclass(frozen=True)
class StartingPoint:
    """What a training starts at: ``checkpoint`` is None where weights are drawn."""

    config: ModelConfig
    settings: ModelSettings
    checkpoint: Checkpoint | None = None

    @property
    def key(self) -> dict[str, Any]:
        """What of it stands in the key of a training; nothing where weights are drawn."""
        if self.checkpoint is None:
            return {}
        files = self.checkpoint.state.files
        return {"start": {name: record.checksum for name, record in sorted(files.items())}}

    @property
    def weights(self) -> str | None:
        """The checksum of the weights; None where they are drawn."""
        from trainer.checkpoints.checkpoint import WEIGHTS

        return None if self.checkpoint is None else self.checkpoint.state.files[WEIGHTS].checksum

    @property
    def facts(self) -> dict[str, Any]:
        """What a run's record says of it."""
        if self.checkpoint is None:
            return {}
        state = self.checkpoint.state
        how = {"step": state.step} if state.imported is None else {"layout": state.imported.layout}
        return {"start": {"folder": self.checkpoint.folder, **how}}

    def start(self) -> Start | None:
        """Where :func:`trainer.loop.training.train` begins; None for drawn weights."""
        if self.checkpoint is None:
            return None
        from trainer.loop.start import FromWeights

        return FromWeights.of_checkpoint(self.checkpoint)


def starting_point(loaded: LoadedRecipe, tokenizer: Tokenizer) -> StartingPoint:
    """Where the training of a recipe starts. Raises: UserError when it names a folder without a
    checkpoint, another shape, or another tokenizer, or lacks a rate that the model needs.
    """
    recipe = loaded.recipe
    if recipe.start is None:
        try:
            return StartingPoint(recipe.model.config(tokenizer.vocab_size), recipe.model)
        except UserError as error:
            raise error.relocated(loaded.place) from None
    found = start_checkpoint(loaded)
    assert found is not None
    check_tokenizer(loaded, found, tokenizer)
    config = _shape(loaded, found)
    return StartingPoint(config, ModelSettings.model_validate(config.as_dict()), found)


def check_tokenizer(loaded: LoadedRecipe, found: Checkpoint, tokenizer: Tokenizer) -> None:
    """Raises: UserError where a run encodes with another tokenizer than its model has."""
    if found.state.tokenizer_hash != tokenizer.hash:
        raise loaded.file.error(
            ("start",),
            "the run's shards are of another tokenizer than the model it starts at",
            found=tokenizer.hash,
            allowed=[found.state.tokenizer_hash],
            fix="leave tokenizer out of the recipe, and make the shards anew",
        )


def check_start(loaded: LoadedRecipe, found: Checkpoint, given: bytes | None) -> None:
    """Whether a training can start at a checkpoint, found before there is a corpus: all that it
    needs of it is read. ``given``: the model of the tokenizer that the recipe names.

    Raises: UserError when a file is damaged or is not what the state says, and when the tokenizer
    is another one.
    """
    from tokenizer.encode import Tokenizer
    from trainer.checkpoints.checkpoint import TOKENIZER
    from trainer.checkpoints.recorded import model_config
    from trainer.checkpoints.weights import check_finite, check_weights

    check_weights(model_config(found), found.weights(), found.folder)
    if found.state.imported is not None and found.state.optimizer is not None:
        check_finite(found.moments(), found.folder)  # a training goes on with them
    where = f"{found.folder}/{TOKENIZER}"
    own = Tokenizer.load(found.read(TOKENIZER), file=where)
    if own.hash != found.state.tokenizer_hash:
        raise UserError(
            "the checkpoint holds another tokenizer than its model was trained with",
            file=where,
            found=own.hash,
            allowed=[found.state.tokenizer_hash],
            fix=RESTORE,
        )
    if given is not None:
        check_tokenizer(loaded, found, Tokenizer.load(given))


def start_checkpoint(loaded: LoadedRecipe) -> Checkpoint | None:
    """The checkpoint that a recipe starts at, None where it names none. Raises: UserError when
    there is no such checkpoint, or the recipe says too little or too much for it.
    """
    recipe = loaded.recipe
    if recipe.start is None:
        return None
    from trainer.checkpoints.checkpoint import load
    from trainer.export.config_json import CONFIG

    try:
        found = load(folder := loaded.full(recipe.start))
    except UserError as error:
        if Store(folder).exists(CONFIG):
            raise loaded.file.error(
                ("start",),
                "a model of another program is imported before a training starts at it",
                found=recipe.start,
                fix=(Command("import DIR -o imported", DIR=folder), ", and name the checkpoint"),
            ) from None
        raise error.relocated(lambda address: loaded.place(("start",))) from None
    _shape(loaded, found)
    imported = found.state.imported
    said = recipe.train.schedule.model_fields_set
    if imported is not None and imported.folded and "peak" not in said:
        raise loaded.file.error(
            ("train", "schedule", "peak"),
            "a folded model needs a learning rate of its own: the multipliers of the "
            "parameterisation are in its weights",
            found=f"layout {imported.layout}, and no peak",
            fix="give train.schedule.peak, for instance the last rate that its authors used",
        )
    return found


def _shape(loaded: LoadedRecipe, found: Checkpoint) -> ModelConfig:
    """The shape of the model. Raises: UserError where the recipe says another one."""
    from trainer.checkpoints.recorded import model_config

    config, said = model_config(found), loaded.recipe.model
    for name in sorted(said.model_fields_set):
        own = None if name == "preset" else config.as_dict()[name]
        if getattr(said, name) != own:
            raise loaded.file.error(
                ("model", name),
                "a training that starts at a model has its shape",
                found=getattr(said, name),
                allowed=None if own is None else [own],
                fix="leave model out of the recipe",
            )
    return config
