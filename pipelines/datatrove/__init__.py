"""Working with datatrove: its blocks in our recipes, our stages in its pipelines.

    recipe ─ stage ``datatrove`` ─▶ a filter or formatter of datatrove's over every document
    datatrove pipeline ─ steps ─▶ our row-by-row stages     ─ dedup_steps ─▶ our deduplication
    run folder ─ reader ─▶ the documents it selected, as a pipeline's input

**Its blocks as stages.** A recipe names a block of
:data:`pipelines.signals.datatrove_blocks.BLOCKS`::

    stages:
      - datatrove: {block: GopherRepetitionFilter, settings: {dup_line_frac: 0.25}}
      - datatrove: {block: PIIFormatter}

A filter becomes a measure (column ``datatrove_reason``) and a choice that drops with datatrove's
own reason; a formatter becomes a rewrite. These are Python over one document at a time, 0.2 to 0.8
MB/s a core where words are segmented: tens to hundreds of times slower than the stages of this
house.

**Our stages as its steps, our runs as its input.** Steps go into a ``LocalPipelineExecutor`` like
datatrove's own; here they are called as it calls them, in a folder with the starter's run:

>>> from pipelines.datatrove.reader import WindtunnelReader
>>> from pipelines.datatrove.steps import WindtunnelStep
>>> documents = list(WindtunnelReader("runs/starter").run(rank=0, world_size=1))
>>> step = WindtunnelStep("language", {"keep": ["en"]})
>>> 0 < len(list(step.run(iter(documents)))) <= len(documents)
True

**Our deduplication in its pipelines**: sign, decide, filter (:mod:`pipelines.datatrove.dedup_steps`
and :mod:`~pipelines.datatrove.dedup_tables`). **Its executor under our runs**: ``windtunnel run
RECIPE --executor datatrove`` (:mod:`pipelines.executors.datatrove`).
"""
