"""Parts: the shards of a source as one stream of tokens, on a local disk or on an object store.

    folder or address ─ open_parts ─▶ PartFiles ─ stream ─▶ tokens from a place, documents' borders

A local part is mapped (:mod:`~mixtures.parts.local_parts`); a remote one is read in long ranges
through a bounded cache (:mod:`~mixtures.parts.remote_parts`), and checked either way against what
the plan pinned. :mod:`~mixtures.parts.find_document` finds a document by its id. In a folder with a
trained run:

>>> from mixtures.loader.loader import open_streams
>>> from mixtures.parts.find_document import find_document
>>> from pipelines.run.record import load_run
>>> from pipelines.training.plan_file import plan_of_run
>>> store, record = load_run("runs", "trained")
>>> plan = plan_of_run(store)
>>> folders = {name: store.full(record["shards"][name]["folder"]) for name in plan.names}
>>> streams = open_streams(plan, folders)
>>> document = next(iter(streams[1].documents(0, 64)))
>>> found = find_document(streams, document.id)
>>> plan.names[found.source], found.start == document.start
('web', True)
"""
