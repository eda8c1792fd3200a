"""A model's tensors as the paper cuts them: q, k and v apart, whatever is stacked into one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from trainer.model import Model
from trainer.model.parameterisation import kind

GAIN = "gain"


@dataclass(frozen=True)
class Piece:
    """``rows`` of a ``parameter``. ``name`` is the path, ``layers.0.attention.q``; ``kind`` what
    all of them are: ``embedding``, ``head``, ``gain``, or the last part of a matrix's name.
    """

    name: str
    kind: str
    parameter: str
    rows: slice

    def of(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The piece of tensors that have the names of the parameters."""
        return tensors[self.parameter][self.rows]


def pieces(model: Model) -> Iterator[Piece]:
    """Every piece of a model, in the order of its parameters; rows of tables that only pad the
    vocabulary are in none.
    """
    for name, parameter in model.named_parameters():
        path = name.removesuffix(".weight")
        if kind(name) == "embedding":
            yield Piece(name, name, name, slice(0, model.config.vocab_size))
        elif kind(name) == GAIN:
            yield Piece(path, GAIN, name, slice(None))
        else:
            stacked = getattr(model.get_submodule(path), "pieces", {path: len(parameter)})
            first, above = 0, path.rpartition(".")[0]
            for own, rows in stacked.items():
                piece = own.rpartition(".")[2]
                yield Piece(f"{above}.{piece}", piece, name, slice(first, first + rows))
                first += rows
