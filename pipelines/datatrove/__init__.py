"""Working with datatrove: its blocks in our recipes, our stages in its pipelines, its executor
under our runs.

**Its blocks as stages.** A recipe names a block of
:data:`pipelines.stages.datatrove_blocks.BLOCKS`::

    stages:
      - datatrove: {block: GopherRepetitionFilter, settings: {dup_line_frac: 0.25}}
      - datatrove: {block: PIIFormatter}

A filter becomes a measure (column ``datatrove_reason``) and a choice that drops with datatrove's
own reason; a formatter becomes a rewrite. These are Python over one document at a time, 0.2 to 0.8
MB/s a core where words are segmented: tens to hundreds of times slower than the stages of this
house.

**Our stages as its steps.** In a datatrove pipeline::

    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from pipelines.datatrove.steps import WindtunnelStep

    LocalPipelineExecutor([
        JsonlReader("data/"),
        WindtunnelStep("language", {"keep": ["en"]}),
        WindtunnelStep(
            "heuristics", {"rules": ["gopher_quality"]}, exclusion_writer=JsonlWriter("dropped/")
        ),
        JsonlWriter("kept/"),
    ], tasks=4).run()

**Our deduplication in its pipelines.** :mod:`pipelines.datatrove.dedup_steps`: sign, decide,
filter.

**Our runs as its input.** :class:`pipelines.datatrove.reader.WindtunnelReader` yields the documents
a run selected, a share for each rank.

**Its executor under our runs.** ``windtunnel run RECIPE --executor datatrove``.
"""
