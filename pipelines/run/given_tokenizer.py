"""A tokenizer that a recipe names instead of having one trained."""

from __future__ import annotations

from artifacts.errors import UserError
from artifacts.paths import Store
from pipelines.recipe.load import LoadedRecipe
from tokenizer.encode import Tokenizer
from tokenizer.foreign.folder import read_folder
from tokenizer.foreign.packed import SENTENCEPIECE as NAME
from tokenizer.foreign.packed import STOCK


def given_model(loaded: LoadedRecipe) -> bytes | None:
    """The model of the tokenizer that a recipe names, None where it has one trained. Raises:
    UserError as :func:`given_tokenizer`.
    """
    settings = loaded.recipe.tokenizer
    if settings is None or settings.model is None:
        return None
    try:
        return given_tokenizer(loaded.full(settings.model)).model
    except UserError as error:
        raise error.relocated(lambda address: loaded.place(("tokenizer", "model"))) from None


def given_tokenizer(path: str) -> Tokenizer:
    """The tokenizer of a SentencePiece model's file, or of a folder that holds one under its usual
    name, or a ``tokenizer.json`` alone. Raises: UserError when there is none, or it changes texts.
    """
    folder, _, name = path.rstrip("/").rpartition("/")
    found = read_folder(Store(path))
    if found is not None:
        return found
    above = Store(folder or "/")
    if not name or not above.exists(name):
        raise UserError(
            "no tokenizer here",
            file=path,
            field="tokenizer.model",
            fix=f"name a SentencePiece model, or a folder with {NAME} or {STOCK}",
        )
    return Tokenizer.load(above.read(name), file=path)
