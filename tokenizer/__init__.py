"""Text to tokens and tokens on disk: train, encode, chat format, shards.

What comes in: documents as Arrow columns (``id``, ``text``, for chats ``messages``). What goes out:
a SentencePiece model and, per source, shuffled parts of tokens that a loader maps into memory.

Names to know::

    from tokenizer.train import TrainConfig, train          # sample -> tokenizer.model
    from tokenizer.encode import Tokenizer                  # columns of text <-> columns of ids
    from tokenizer.shards.reader import open_source  # read a source's parts, zero-copy

A run from text to a window of tokens::

    texts = pa.array(["Hello world.", "你好，世界。"] * 500, pa.large_string())
    train([texts], TrainConfig(vocab_size=320), "tokenizer.model")

    tokenizer = Tokenizer.load("tokenizer.model")
    tokens = tokenizer.encode(texts, eos=True)              # large_list<uint16>, EOS last
    tokenizer.decode(tokens, controls=False) == texts       # every text comes back

    with open("chunk.arrow", "wb") as out:
        write_encoded(out, ids, text_hashes, tokens)        # tokenizer.shards.writer
    write_source(folder, [Path("chunk.arrow")], manifest)   # shuffle, cut, write, manifest last

    source = open_source(folder, tokenizer.hash)
    source.tokens(0).read(0, 4096)                          # a view of the mapped file

Other rooms: :mod:`~tokenizer.sample` (which documents train it), :mod:`~tokenizer.chat`
(conversations, marks, target spans), :mod:`~tokenizer.shards.shuffle` (the shuffle),
:mod:`~tokenizer.shards.manifest`, :mod:`~tokenizer.shards.part_index` and
:mod:`~tokenizer.shards.record_batch` (a part read in ranges of bytes, as from an object store),
:mod:`~tokenizer.shards.verify` (is a source sound, and where not),
:mod:`~tokenizer.shards.take_down` (documents that may no longer be shown), :mod:`~tokenizer.report`
(bytes per token and the like).

Three promises, each with its tests: ``decode(encode(x)) == x`` for every Unicode text; text never
encodes to a control mark; a source's bytes do not depend on how its documents were cut into chunks.
"""
