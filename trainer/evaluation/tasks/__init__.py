"""Benchmarks: their files as items, and what a model reaches on them.

    files ─ files, layouts ─▶ records ─ forms ─▶ items ─ scoring, with a model ─▶ scores by item

:func:`~trainer.evaluation.tasks.layouts.read_task` reads files,
:func:`~trainer.evaluation.tasks.scoring.score_tasks` scores a model on them:

>>> from pathlib import Path
>>> from trainer.evaluation.tasks.layouts import read_task
>>> record = '{"question": "2 + 2 =", "choices": ["3", "4"], "answer": 1}'
>>> _ = Path("sums.jsonl").write_text(record)
>>> task = read_task(["sums.jsonl"])
>>> task.layout, task.items[0].context, task.items[0].options, task.chance
('mmlu', 'Question: 2 + 2 =\\nAnswer:', (' 3', ' 4'), 0.5)
"""
