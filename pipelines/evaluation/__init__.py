"""Scores of a run's endings on benchmark tasks, and what of the tasks its training has seen.

    recipe ─ asked ─▶ tasks, before there is a corpus
    checkpoint + tasks ─ endings ─▶ scores of every item, kept beside the checkpoint
    training shards + tasks ─ contamination ─▶ items that a training document holds

Scoring is :mod:`trainer.evaluation.tasks`; this room says where scores lie in a run, what they are
keyed by and which items do not count as unseen. In a folder with a trained run:

>>> from pipelines.evaluation.contamination import Contamination, SeenItems
>>> from pipelines.run.record import load_run
>>> from pipelines.training.materials import Materials
>>> from trainer.evaluation.tasks.items import Item, Task
>>> store, record = load_run("runs", "trained")
>>> item = Item("1", "Question: why?\\nAnswer:", (), None, " because", "1", "why is that so?")
>>> asked = Task("why", "gsm8k", (), (item,))
>>> shares = SeenItems([asked], Materials.of(store, record)).shares(asked, ["web"])
>>> Contamination.of(["1"], shares, overlap=0.5)
Contamination(items=1, searched=0, contaminated=())
"""
