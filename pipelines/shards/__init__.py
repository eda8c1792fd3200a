"""Token shards of a run: selected documents, a tokenizer, and documents that may not be shown.

    selected documents ─ tokenizer ─▶ tokenizer.model
    selected documents ─ encode ─▶ ids of tokens, by chunk
    encoded chunks ─ write ─▶ shuffled parts by source, by quality band, held out
    ids ─ take_downs ─▶ tombstones in parts that stay as they are

The parts of a recipe that this room carries out are declared here:
:mod:`~pipelines.shards.settings` and :mod:`~pipelines.shards.split`, which cuts a source by a
number into *quality bands*, sources of shards of their own. Files are written and read by
:mod:`tokenizer.shards`. In a folder with the starter's run:

>>> import numpy as np
>>> from artifacts.ids import document_ids, native_key
>>> from pipelines.run.record import load_run
>>> from pipelines.shards.split import assign
>>> from tokenizer.shards.reader import open_source
>>> store, record = load_run("runs", "starter")
>>> shards = record["shards"]["web"]
>>> open_source(store.full(shards["folder"])).manifest.tokens == shards["tokens"]
True
>>> ids = document_ids("web", [native_key(str(number)) for number in range(4)])
>>> assign(np.array([0.9, 0.1, 0.5, 0.7]), ids, [">= 0.6", "rest"]).tolist()
[0, 1, 1, 0]
"""
