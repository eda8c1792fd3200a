"""Rotary positions as ``config.json`` says them, for releases 4 and 5 of transformers alike.

Release 5 reads ``rope_parameters``; release 4.57 takes theta from ``rope_theta`` alone, without a
word where it is missing, and the rest from ``rope_scaling``. So all three are written.

NTK scaling by a fixed factor is a larger theta, and is written as that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from artifacts.errors import UserError
from trainer.export.values import count, number, refuse_set
from trainer.shapes.config import ModelConfig

_DEFAULT = "default"
TYPES = (_DEFAULT, "dynamic", "yarn")
_BELOW = "rope_parameters."
_ORIGINAL = "original_max_position_embeddings"
_PLAIN = {f"{_BELOW}partial_rotary_factor": 1.0}
_YARN_DEFAULTS = {
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "attention_factor": None,
    "mscale": None,
    "mscale_all_dim": None,
    "truncate": True,
}


def written(config: ModelConfig, context: int) -> dict[str, Any]:
    """The settings of rotary positions for a model that is used on ``context`` tokens."""
    rotary = config.rotary
    theta = rotary.theta
    if rotary.scaling == "ntk":
        theta *= rotary.factor ** (config.head_dim / (config.head_dim - 2))
    scaling: dict[str, Any] | None = None
    if rotary.scaling in ("dynamic", "yarn"):
        scaling = {"rope_type": rotary.scaling, "factor": rotary.factor}
        scaling[_ORIGINAL] = rotary.original_context
    return {
        "max_position_embeddings": longest(config, context),
        "rope_theta": theta,
        "rope_scaling": scaling,
        "rope_parameters": {"rope_theta": theta, **(scaling or {"rope_type": _DEFAULT})},
    }


def longest(config: ModelConfig, context: int) -> int:
    """The longest text that ``config.json`` speaks of. Dynamic NTK starts from it, whatever else is
    said, so there it is the original context; YaRN never leads to a shorter one than that.
    """
    rotary = config.rotary
    if rotary.scaling == "dynamic" and rotary.original_context is not None:
        return rotary.original_context
    if rotary.scaling == "yarn" and rotary.original_context is not None:
        return max(context, rotary.original_context)
    return context


@dataclasses.dataclass(frozen=True)
class ReadRope:
    """What ``config.json`` says: settings of :class:`ModelConfig`, and the longest context."""

    settings: dict[str, Any]
    context: int


def read(values: Mapping[str, Any], file: str) -> ReadRope:
    """Raises: UserError for a scaling that models here do not have."""
    scaling = {**_said(values, "rope_scaling", file), **_said(values, "rope_parameters", file)}
    kind = scaling.get("rope_type", scaling.get("type", _DEFAULT))
    refuse_set(_named(scaling), _PLAIN, file)
    context = count(values, "max_position_embeddings", file, usual=2048)
    if "rope_theta" in scaling:
        theta = number(_named(scaling), f"{_BELOW}rope_theta", file)
    else:
        theta = number(values, "rope_theta", file, usual=10000.0)
    if kind not in TYPES:
        raise UserError(
            "rotary positions of a kind that models here do not have",
            file=file,
            field="rope_parameters.rope_type",
            found=kind,
            allowed=TYPES,
            fix="take a model with one of these",
        )
    settings: dict[str, Any] = {"rope_theta": theta}
    if kind == _DEFAULT:
        return ReadRope(settings, context)
    _check_yarn(scaling, kind, file)
    before = (
        context
        if kind == "dynamic"
        else count(_named(scaling), f"{_BELOW}{_ORIGINAL}", file, context)
    )
    settings |= {
        "rope_scaling": kind,
        "rope_factor": number(_named(scaling), f"{_BELOW}factor", file, usual=1.0),
        "rope_original_context": before,
    }
    return ReadRope(settings, context)


def _check_yarn(scaling: Mapping[str, Any], kind: str, file: str) -> None:
    """Raises: UserError for settings of YaRN that would be lost."""
    if kind != "yarn":
        return
    for name, usual in _YARN_DEFAULTS.items():
        if scaling.get(name, usual) != usual:
            raise UserError(
                "a setting of YaRN that models here do not have",
                file=file,
                field=f"rope_parameters.{name}",
                found=scaling[name],
                allowed=[usual],
                fix="take a model without it",
            )


def _named(scaling: Mapping[str, Any]) -> dict[str, Any]:
    """Settings below ``rope_parameters`` under their full names, as errors say them."""
    return {f"{_BELOW}{name}": value for name, value in scaling.items()}


def _said(values: Mapping[str, Any], name: str, file: str) -> Mapping[str, Any]:
    """The settings below a name; none where it is left out or null. Raises: UserError for anything
    but settings, and for several sets of them.
    """
    found = values.get(name) or {}
    if not isinstance(found, dict) or any(isinstance(value, dict) for value in found.values()):
        raise UserError(
            "not the settings of rotary positions",
            file=file,
            field=name,
            found=found,
            fix="restore config.json from where the model came from",
        )
    return found
