"""The files that transformers, tokenizers, vLLM and llama.cpp's converter read, with our ids.

    for name, content in huggingface_files(tokenizer).items():
        (folder / name).write_bytes(content)

``tokenizer.json``
    the model, for ``tokenizers`` and all that rests on it.
``tokenizer_config.json``, ``special_tokens_map.json``
    what transformers has to know besides; llama.cpp's converter learns user symbols from the first.
``chat_template.jinja``
    the chat format, for transformers 5; for 4 it stands in ``tokenizer_config.json`` too. Not there
    where the tokenizer has no chat marks.
``tokenizer.model``
    the SentencePiece model itself, byte for byte: ``tokenizer.json`` does not give it back.

The class is ``PreTrainedTokenizerFast``, which takes ``tokenizer.json`` as it is. The classes named
after a model, such as ``LlamaTokenizer``, put a pre-tokeniser of their own into its place.
"""

from __future__ import annotations

import json
from typing import Any

from tokenizer.encode import Tokenizer
from tokenizer.huggingface.chat_template import chat_template
from tokenizer.huggingface.model_file import CONTROL, UNKNOWN, USER_DEFINED
from tokenizer.huggingface.pieces import Pieces, same_pieces
from tokenizer.huggingface.stock_model import added_token, stock_model

STOCK, CONFIG, SPECIAL = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
TEMPLATE, MODEL = "chat_template.jinja", "tokenizer.model"
NAMES = (STOCK, CONFIG, SPECIAL, TEMPLATE, MODEL)
OTHERS = (*NAMES, "added_tokens.json")
"""What there may be of a tokenizer that came from another program."""


def huggingface_files(
    tokenizer: Tokenizer, model_max_length: int | None = None
) -> dict[str, bytes]:
    """Content by file name; the same model gives the same bytes.

    ``model_max_length``: tokens of the longest text, BOS included, that the model is made for;
    transformers warns of longer ones.
    Raises: UserError when some text would get other ids, naming what of the model is the reason.
    """
    if tokenizer.packed is not None:  # its own, as they were
        return dict(tokenizer.packed.files)
    pieces = same_pieces(tokenizer)
    template = chat_template(tokenizer)
    special = {
        "bos_token": pieces.surfaces[pieces.bos],
        "eos_token": pieces.surfaces[pieces.eos],
        "unk_token": pieces.surfaces[pieces.unknown],
    }
    files = {
        STOCK: _json(stock_model(pieces), indent=None),
        CONFIG: _json(_config(pieces, special, template, model_max_length)),
        SPECIAL: _json(special),
        MODEL: tokenizer.model,
    }
    return files if template is None else {**files, TEMPLATE: template.encode()}


def _config(
    pieces: Pieces, special: dict[str, str], template: str | None, longest: int | None
) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **special,
        "add_bos_token": True,  # transformers has it from tokenizer.json, llama.cpp from here
        "add_eos_token": False,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": False,
        **({} if longest is None else {"model_max_length": longest}),
        "added_tokens_decoder": {
            str(token): added_token(pieces, token)
            for token in pieces.of(CONTROL, UNKNOWN, USER_DEFINED)
        },
        **({} if template is None else {"chat_template": template}),
    }


def _json(value: object, indent: int | None = 2) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=indent) + "\n").encode()
