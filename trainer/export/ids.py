"""Whether the exported tokenizer gives the ids of ours, on drawn texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from artifacts.errors import UserError
from artifacts.extras import has, install_command
from tokenizer.encode import Tokenizer
from tokenizer.huggingface.compare import compare
from tokenizer.vocabulary import NORMAL

_TEXTS, _PIECES = 2000, 24
_ODD = (
    "  \n\t",
    "\u2581",
    "\x00",
    "<0x41>",
    "é",
    "e\u0301",
    "漢字かな",
    "🙂",
    "\ufeff",
    "﷽",
    "\r\n",
)


def id_check(tokenizer: Tokenizer, folder: Path) -> str:
    """What came out, as a sentence. Raises: UserError when ids differ."""
    if tokenizer.packed is not None:
        return "the tokenizer is somebody else's; its files are here as they were."
    if not has("export"):
        return f"not compared, for lack of the library tokenizers (`{install_command('export')}`)."
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    found = compare(tokenizer, [list(drawn_texts(tokenizer))], files=files)
    if not found.sound:
        raise UserError(
            "the exported tokenizer gives other ids than the one of the training",
            file=folder / "tokenizer.json",
            found=found.plain.first or found.split.first,
            fix="this is a defect: please report it",
        )
    return (
        f"{found.plain.texts:,} drawn texts of {found.plain.tokens:,} tokens have the same ids and "
        "come back as they were."
    )


def drawn_texts(tokenizer: Tokenizer, seed: int = 1) -> Iterator[str]:
    """Texts of drawn pieces of the vocabulary and of characters that are easily lost."""
    vocabulary = tokenizer.vocabulary
    pieces = [
        vocabulary.surface(int(token)).decode()
        for token in np.flatnonzero(vocabulary.kinds == NORMAL)
    ]
    source = np.random.default_rng(seed)
    for _ in range(_TEXTS):
        drawn = source.integers(0, len(pieces), int(source.integers(1, _PIECES)))
        odd = source.integers(0, len(_ODD), len(drawn))
        # one in four is a character that is easily lost
        yield "".join(
            _ODD[other] if source.random() < 0.25 else pieces[number]
            for number, other in zip(drawn, odd, strict=True)
        )
