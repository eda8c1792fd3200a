"""The harness and what it rests on, without network and without a word on the terminal.

with alone():
    evaluate(...)
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Iterator

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1"}


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Everything inside is offline; what it prints and logs below an error is not shown."""
    before = {name: os.environ.get(name) for name in OFFLINE}
    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets")]
    levels = [logger.level for logger in loggers]
    os.environ.update(OFFLINE)
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
