"""A tokenizer for other programs: the files that Hugging Face's libraries read, with the same ids.

    Tokenizer ─ model_file ─▶ pieces, scores ─ pieces ─▶ refused, or the same in every text
              ─ stock_model, chat_template ─▶ files: tokenizer.json, tokenizer_config.json, …
    files + texts ─ compare ─▶ every difference, counted

What comes in: a :class:`~tokenizer.encode.Tokenizer`. What goes out: bytes by file name, which
depend on the model alone. The names you need: ``huggingface_files``, ``compare``.

>>> import pyarrow as pa
>>> from tokenizer.encode import Tokenizer
>>> from tokenizer.huggingface.files import huggingface_files
>>> from tokenizer.train import TrainConfig, train
>>> texts = pa.array(["Hello world.", "你好，世界。"] * 500, pa.large_string())
>>> report = train([texts], TrainConfig(vocab_size=320), "greetings.model")
>>> files = huggingface_files(Tokenizer.load("greetings.model"))
>>> sorted(files)  # doctest: +NORMALIZE_WHITESPACE
['chat_template.jinja', 'special_tokens_map.json', 'tokenizer.json', 'tokenizer.model',
 'tokenizer_config.json']

**Why the ids are the same.** Both encoders merge two neighbours at a time, whichever of all
candidates stands first in an order: SentencePiece by the score of the piece that they make, then
from the left; Hugging Face's by the rank of the pair, then from the left. Take the characters that
become one piece. Until they are one, nothing inside them is merged with anything outside; so what
happens inside them does not depend on what is around them, and the last pair is always the same. So
for each piece only one pair is ever merged, whichever pairs are listed. Listed by falling score,
pairs of different pieces come in SentencePiece's order, and of one piece in the text's. What this
takes (no two scores alike, every character of a piece a piece, and the like) is checked of each
model (:mod:`~tokenizer.huggingface.pieces`).

**What stays different.** A stock tokenizer turns text that spells a control piece, such as
``<User>``, into that piece, unless it is told to split special tokens; ours never does. Ids that
are no text (bytes of a character cut apart) decode to other replacement characters.
"""
