"""Tensors of a folder as safetensors files: one, or several with an index of who holds what.

model.safetensors
model-00001-of-00003.safetensors …, model.safetensors.index.json
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from artifacts.errors import UserError
from artifacts.foreign_json import foreign_object

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PART_BYTES = 5_000_000_000
_PART = re.compile(r"^[A-Za-z0-9_.-]+\.safetensors$")
_LARGEST_INDEX = 256 << 20
_FLOATS = ("F64", "F32", "F16", "BF16")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
"""What tensors can be written in, by the names that recipes use."""


def write_tensors(
    folder: Path, tensors: Iterable[tuple[str, Tensor]], part_bytes: int = PART_BYTES
) -> list[str]:
    """Write tensors in their order, as many to a file as fit ``part_bytes``, at least one; returns
    the names of the files. Memory holds one part.
    """
    parts: list[list[str]] = []
    held: dict[str, Tensor] = {}
    size = total = 0
    for name, tensor in tensors:
        own = tensor.numel() * tensor.element_size()
        if held and size + own > part_bytes:
            parts.append(_write(folder, held, len(parts)))
            held, size = {}, 0
        held[name] = tensor
        size += own
        total += own
    parts.append(_write(folder, held, len(parts)))
    if len(parts) == 1:
        (folder / _part(0)).rename(folder / SINGLE)
        return [SINGLE]
    names = [
        f"model-{number + 1:05d}-of-{len(parts):05d}.safetensors" for number in range(len(parts))
    ]
    for number, name in enumerate(names):
        (folder / _part(number)).rename(folder / name)
    holders = {
        name: file for file, held_names in zip(names, parts, strict=True) for name in held_names
    }
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(holders.items()))}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")
    return [*names, INDEX]


@dataclass(frozen=True)
class TensorFiles:
    """The tensors of a folder: ``holders`` says which file holds each, ``shapes`` what they are."""

    folder: Path
    holders: dict[str, str]
    shapes: dict[str, tuple[int, ...]]

    def read(self) -> dict[str, Tensor]:
        """All of them. Raises: UserError when a file cannot be read."""
        found: dict[str, Tensor] = {}
        for file in sorted(set(self.holders.values())):
            with opened(self.folder / file) as tensors:
                names = [name for name, holder in self.holders.items() if holder == file]
                found |= {name: tensors.get_tensor(name) for name in names}
        return found

    def dtypes(self) -> set[str]:
        """The types that they are stored in, as safetensors names them."""
        found = set()
        for file in sorted(set(self.holders.values())):
            with opened(self.folder / file) as tensors:
                for name, holder in self.holders.items():
                    if holder == file:
                        found.add(tensors.get_slice(name).get_dtype())
        return found


def tensor_files(folder: Path) -> TensorFiles:
    """The tensors that a folder holds; nothing of them is read yet.

    Raises: UserError when there are none, when the index names a file that is not there or lies
    elsewhere, and when a file cannot be read.
    """
    if (folder / INDEX).is_file():
        holders = _index(folder / INDEX)
        _check_one_set(folder, holders)
    elif (folder / SINGLE).is_file():
        with opened(folder / SINGLE) as tensors:
            holders = dict.fromkeys(tensors.keys(), SINGLE)
    else:
        raise UserError(
            "no weights here",
            file=folder,
            found=", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing",
            allowed=[SINGLE, INDEX],
            fix="name a folder with weights as safetensors; other formats are not read",
        )
    shapes: dict[str, tuple[int, ...]] = {}
    for file in sorted(set(holders.values())):
        with opened(folder / file) as tensors:
            held = set(tensors.keys())
            for name in [name for name, holder in holders.items() if holder == file]:
                if name not in held:
                    raise UserError(
                        "the index names a tensor that the file does not hold",
                        file=folder / file,
                        field=name,
                        fix="restore the folder from where it came from",
                    )
                held_there = tensors.get_slice(name)
                _check_type(held_there.get_dtype(), folder / file, name)
                shapes[name] = tuple(held_there.get_shape())
    return TensorFiles(folder, holders, shapes)


def _check_one_set(folder: Path, holders: Mapping[str, str]) -> None:
    """Raises: UserError for weights that the index leaves out: transformers takes those instead."""
    if (folder / SINGLE).is_file() and SINGLE not in holders.values():
        raise UserError(
            "the folder holds two sets of weights",
            file=folder,
            found=f"{SINGLE}, and the files that {INDEX} names",
            fix=f"remove {SINGLE}, or the index and its files, whichever is older",
        )


def _check_type(dtype: str, file: Path, name: str) -> None:
    """Raises: UserError for numbers that are not plain floats, such as quantised ones."""
    if dtype not in _FLOATS:
        raise UserError(
            "a tensor of numbers that are no weights of a model here",
            file=file,
            field=name,
            found=dtype,
            allowed=_FLOATS,
            fix="take the model before it was quantised or converted",
        )


def opened(path: Path) -> safe_open:
    """An open safetensors file. Raises: UserError when it is none."""
    try:
        return safe_open(path, "pt")
    except (OSError, SafetensorError) as error:
        raise UserError(
            "not a readable safetensors file",
            file=path,
            found=error,
            fix="restore it from where it came from",
        ) from None


def _part(number: int) -> str:
    return f"part-{number}.safetensors"


def _write(folder: Path, held: dict[str, Tensor], number: int) -> list[str]:
    path = folder / _part(number)
    save_tensors(held, path, {"format": "pt"})
    return list(held)


def save_tensors(tensors: Mapping[str, Tensor], path: Path, facts: dict[str, str]) -> None:
    """Write one file that everybody can read. Raises: OSError also where the disk is full."""
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, facts)
    except SafetensorError as error:
        if "No space left" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
    os.chmod(path, 0o644)  # save_file leaves files that nobody else can read


def _index(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        values = foreign_object(file.read(_LARGEST_INDEX + 1), path, _LARGEST_INDEX)
    try:
        holders = values["weight_map"]
        odd = [file for file in holders.values() if not _PART.match(file)]
        if odd:
            raise ValueError(f"weight_map names {odd[0]!r}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            "not an index of tensors",
            file=path,
            found=error,
            fix="restore it from where it came from",
        ) from None
    return dict(holders)
