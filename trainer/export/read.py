"""Read a folder of another program as a model, and write it as a checkpoint.

    imported = import_model("granite-350m", "runs/imported")
    imported.folder                     # of step 0

Weights are read as they lie on the disk, without transformers, and kept in fp32. The checkpoint
has no plan and no settings of a training: one begins with it (``start`` in a recipe), and it
generates, is measured and exported as any other. A folder that was exported with moments gives them
back.

Refused are architectures and settings that models here do not have, tensors that are missing, too
many or of another shape, and a tokenizer that is not the model's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError
from torch import Tensor

from artifacts.errors import UserError
from artifacts.paths import Store
from tokenizer.encode import Tokenizer
from tokenizer.foreign.folder import read_folder
from tokenizer.foreign.packed import STOCK
from trainer.checkpoints.checkpoint import TOKENIZER, Checkpoint, save
from trainer.checkpoints.moments import FIRST, SECOND
from trainer.checkpoints.paths import STATE, folder_name, state_name
from trainer.checkpoints.state import CheckpointState, Imported
from trainer.checkpoints.weights import check_finite, check_fitting
from trainer.export.config_json import CONFIG, ReadConfig, read_config
from trainer.export.export import MOMENTS
from trainer.export.names import EMBEDDING, HEAD, check_tensors, inward
from trainer.export.tensor_files import opened, tensor_files
from trainer.optimizer.rule import UpdateCount

Tensors = dict[str, Tensor]

_RESTORE = "restore the folder from where it came from"
_WITHOUT_MOMENTS = "export the checkpoint anew, or remove the folder of the moments"


@dataclass(frozen=True)
class ReadModel:
    """A folder as a model: its parameters by our names, fp32, and moments where there are some."""

    said: ReadConfig
    weights: Tensors
    tokenizer: Tokenizer
    moments: Tensors
    updates: UpdateCount | None


def import_model(folder: str | Path, output: str | Path) -> Checkpoint:
    """Write the model of a folder as the checkpoint of step 0 under ``output``.

    Raises: UserError as :func:`read_model`, and when ``output`` has such a checkpoint.
    """
    store = Store(output)
    if store.exists(state_name(0)):
        raise UserError(
            "a model was imported to this place already",
            file=store.full(folder_name(0)),
            fix="name another folder, or remove this one",
        )
    read = read_model(folder)
    said = read.said
    state = CheckpointState(
        step=0,
        tokens=0,
        plan_hash="",
        history=(),
        schedule={},
        model=said.config.recorded(),
        settings={},
        tokenizer_hash=read.tokenizer.hash,
        seeds={},
        optimizer=read.updates,
        imported=Imported(layout=said.layout.name, context=said.context, folded=said.layout.folded),
    )
    return save(store, state, read.weights, read.moments, {TOKENIZER: read.tokenizer.model})


def read_model(folder: str | Path) -> ReadModel:
    """The model of a folder. Raises: UserError naming the file and what it lacks."""
    place = Path(folder)
    _check_folder(place)
    raw = _bytes(place / CONFIG, "name a folder with config.json, weights and a tokenizer")
    said = read_config(raw, str(place / CONFIG))
    config = said.config
    files = tensor_files(place)
    holders = {name: shape for name, shape in files.shapes.items() if not _buffer(name)}
    tied = config.tied and HEAD not in holders
    check_tensors(config, holders, tied, str(place))
    tokenizer = _tokenizer(place, said)
    tensors = files.read()
    _check_tied(config.tied, tensors, str(place))
    check_finite(tensors, str(place), _RESTORE)  # by the names that the folder has
    weights = inward(config, tensors, said.factors)
    check_finite(weights, str(place), _RESTORE)
    moments, updates = _moments(place, weights)
    return ReadModel(said, weights, tokenizer, moments, updates)


def _check_folder(place: Path) -> None:
    """Raises: UserError for a file, and for a checkpoint, which is no model of another program."""
    if place.is_file():
        raise UserError(
            "a model is taken over by its folder, and this is a file",
            file=place,
            fix=f"name {place.parent}",
        )
    if (place / STATE).is_file() and not (place / CONFIG).exists():
        raise UserError(
            "this is a checkpoint already: it needs no import",
            file=place,
            fix="name it where a checkpoint is asked for, such as in generate or in start",
        )


def _check_tied(tied: bool, tensors: Tensors, where: str) -> None:
    """Raises: UserError for a head of its own in a model whose head is said to be its embedding:
    releases of transformers differ in which of both they take.
    """
    if tied and HEAD in tensors and not tensors[HEAD].equal(tensors[EMBEDDING]):
        raise UserError(
            "config.json says that the head is the embedding, and the folder holds another head",
            file=where,
            field=HEAD,
            fix="set tie_word_embeddings to false in config.json where the head was trained, or "
            "remove the tensor",
        )


def _buffer(name: str) -> bool:
    """Whether a tensor is a table that older releases saved with the weights."""
    return name.endswith("rotary_emb.inv_freq")


def _tokenizer(place: Path, said: ReadConfig) -> Tokenizer:
    """The folder's own tokenizer, its SentencePiece model where it has one. Raises: UserError when
    it has none, or more pieces than the model has rows.
    """
    fix = "add the tokenizer that the model was trained with"
    tokenizer = read_folder(Store(place), said.bos, said.eos)
    path = place / (TOKENIZER if (place / TOKENIZER).is_file() else STOCK)
    if tokenizer is None:
        raise UserError(
            "the folder has no tokenizer",
            file=place / TOKENIZER,
            found=", ".join(sorted(one.name for one in place.glob("*token*"))) or "no such file",
            allowed=[TOKENIZER, STOCK],
            fix=fix,
        )
    rows = said.config.vocab_size
    if tokenizer.vocab_size > rows:
        raise UserError(
            "the tokenizer has more pieces than the model has rows",
            file=path,
            found=tokenizer.vocab_size,
            allowed=[f"up to {rows}"],
            fix=fix,
        )
    return tokenizer


def _moments(place: Path, weights: Tensors) -> tuple[Tensors, UpdateCount | None]:
    """The optimizer's moments, where the folder has some. Raises: UserError when they are not those
    of the weights.
    """
    path = place / MOMENTS
    if not path.is_file():
        return {}, None
    with opened(path) as tensors:
        facts = tensors.metadata() or {}
        try:
            names = list(tensors.keys())
            found = {name: tensors.get_tensor(name) for name in names}
            count = UpdateCount(rule=_rule(facts["rule"]), updates=int(facts["updates"]))
        except (KeyError, ValueError, SafetensorError) as error:
            raise UserError(
                "not the moments of an export",
                file=path,
                found=error,
                fix=_WITHOUT_MOMENTS,
            ) from None
    check_finite(found, str(path), _WITHOUT_MOMENTS)
    for prefix in (FIRST, SECOND):
        own = {f"{prefix}{name}": value for name, value in weights.items()}
        check_fitting(
            {name: value for name, value in found.items() if name.startswith(prefix)},
            own,
            str(path),
            _WITHOUT_MOMENTS,
        )
    return found, count


def _rule(text: str) -> Literal[1, 2]:
    if text not in ("1", "2"):
        raise ValueError(f"rule {text}")
    return 1 if text == "1" else 2


def _bytes(path: Path, fix: str) -> bytes:
    try:
        if path.exists() and not path.is_file():  # a pipe would never end
            raise OSError("not a file")
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            "no model here", file=path, found=error.strerror or error, fix=fix
        ) from None
