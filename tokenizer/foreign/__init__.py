"""Tokenizers of others: ``tokenizer.json``, and SentencePiece models that begin texts with a space.

    folder ─ read_folder ─▶ Tokenizer ─ model ─▶ packed bytes, and back by load

A SentencePiece model of Llama's kind is packed with the files beside it, which say how texts begin
(:mod:`tokenizer.prefix`), and is carried out as any other. A ``tokenizer.json`` is a
:class:`tokenizer.encode.Tokenizer` like any other, through the library ``tokenizers`` (extra
``export``): a corpus is encoded with it, a model generates and is measured. Text never becomes a
special token; and what one of its ids decodes to is read off its own description.

>>> import json
>>> from tokenizer.encode import Tokenizer
>>> from tokenizer.foreign.packed import pack
>>> characters = ["<s>", "</s>", *map(chr, [*range(33, 127), *range(161, 173)])]
>>> characters += [*map(chr, [*range(174, 256), *range(256, 324)])]
>>> described = {
...     "version": "1.0", "truncation": None, "padding": None, "normalizer": None,
...     "added_tokens": [
...         {"id": number, "content": name, "single_word": False, "lstrip": False,
...          "rstrip": False, "normalized": False, "special": True}
...         for number, name in enumerate(["<s>", "</s>"])
...     ],
...     "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False,
...                       "trim_offsets": True, "use_regex": True},
...     "post_processor": None, "decoder": {
...         "type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True
...     },
...     "model": {"type": "BPE", "vocab": {name: n for n, name in enumerate(characters)},
...               "merges": []},
... }
>>> files = {"tokenizer.json": json.dumps(described).encode()}
>>> tokenizer = Tokenizer.load(pack(files, bos=0, eos=1))
>>> tokenizer.decode_tokens(tokenizer.encode_text("a</s> é")) == "a</s> é"
True
"""
