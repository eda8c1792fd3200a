"""Libraries that only some of the work needs, and the extras of this distribution that bring them.

require("train")            # before hours of work that end in a training
with_dask = has("dask")
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from artifacts.errors import Setting, UserError

EXTRAS = {
    "train": ("torch", "safetensors", "tensorboard"),
    "dask": ("dask", "distributed", "cryptography"),
    "datatrove": ("datatrove",),
    "export": ("tokenizers",),
    "evaluate": ("lm_eval",),
    "experiments": ("optuna", "matplotlib", "sklearn"),
}
"""Import names by extra. What of ``cloud``, ``gpu`` and ``words`` is missing, the libraries that
use them say.
"""

_WORK = {
    "train": "training, evaluating and generating",
    "dask": "work on several processes or machines",
    "datatrove": "blocks and the executor of datatrove",
    "export": "a tokenizer.json, to read it or to compare its ids,",
    "evaluate": "asking benchmarks as lm-evaluation-harness does",
    "experiments": "searching and drawing in experiments",
}


def has(extra: str) -> bool:
    """Whether all libraries of an extra can be imported."""
    return not _missing(extra)


def require(extra: str, parameter: str | None = None, instead: Setting | None = None) -> None:
    """Raises: UserError that names what is missing and the command that installs it.

    parameter: what asked for it; instead: a setting that needs no extra.
    """
    missing = _missing(extra)
    if missing:
        raise missing_extra(extra, missing, parameter, instead)


def missing_extra(
    extra: str,
    modules: Sequence[str],
    parameter: str | None = None,
    instead: Setting | None = None,
) -> UserError:
    """The error of :func:`require`, where these modules of an extra were not found."""
    command = install_command(extra)
    return UserError(
        f"{_WORK[extra]} needs the extra {extra!r}",
        parameter=parameter,
        found=f"no module {', '.join(modules)}",
        fix=command if instead is None else (f"{command}, or ", instead),
    )


def install_command(extra: str) -> str:
    """What a user types for an extra."""
    return f"pip install 'windtunnel[{extra}]'"


def extra_of(module: str | None) -> str | None:
    """The extra that brings a module by its dotted name; None where none does."""
    top = (module or "").split(".")[0]
    return next((extra for extra, names in EXTRAS.items() if top in names), None)


def _missing(extra: str) -> list[str]:
    return [name for name in EXTRAS[extra] if find_spec(name) is None]
