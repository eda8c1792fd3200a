"""Text to tokens and tokens on disk: train, encode, chat format, shards.

    texts ─ train ─▶ tokenizer.model        texts ─ encode ─▶ ids of tokens
    ids by chunk ─ shards ─▶ shuffled parts of a source ─ open_source ─▶ tokens, zero-copy

What comes in: documents as Arrow columns (``id``, ``text``, for chats ``messages``). What goes out:
a SentencePiece model and, per source, shuffled parts of tokens that a loader maps into memory. The
names you need: ``TrainConfig`` and ``train``, ``Tokenizer``, ``open_source``.

>>> import pyarrow as pa
>>> from tokenizer.encode import Tokenizer
>>> from tokenizer.train import TrainConfig, train
>>> texts = pa.array(["Hello world.", "你好，世界。"] * 500, pa.large_string())
>>> report = train([texts], TrainConfig(vocab_size=320), "greetings.model")
>>> tokenizer = Tokenizer.load("greetings.model")
>>> tokens = tokenizer.encode(texts, eos=True)  # large_list<uint16>, EOS last
>>> tokenizer.decode(tokens, controls=False) == texts  # every text comes back
True

Other modules: :mod:`~tokenizer.sample` (which documents train it), :mod:`~tokenizer.sentences`,
:mod:`~tokenizer.chat` (conversations, marks, target spans), :mod:`~tokenizer.tool_calls` (calls as
text), :mod:`~tokenizer.report` (bytes per token and the like), :mod:`~tokenizer.vocabulary` and
:mod:`~tokenizer.words` (what encoding rests on). The room :mod:`tokenizer.shards` holds tokens on
disk, :mod:`tokenizer.huggingface` what other programs read.

Three promises, each with its tests: ``decode(encode(x)) == x`` for every Unicode text; text never
encodes to a control mark; a source's bytes do not depend on how its documents were cut into chunks.
"""
