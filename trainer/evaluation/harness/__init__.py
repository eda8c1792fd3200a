"""Benchmarks as lm-evaluation-harness asks them, on a model of ours, from files and offline.

    tasks/*.yaml ─ known ─▶ forms of each benchmark, with the harness's own file that each includes
    questions, solved ones ─ task_files ─▶ Parquet and task files of one run
    model, tokenizer ─ model, over tasks.likelihoods, generation ─▶ what the harness asks
    all of them ─ run ─▶ what the harness logs ─ outcome ─▶ scores of every question

Prompts, metrics and filters are the harness's, so figures compare with those that others report.
It is the library ``lm_eval`` of the extra ``evaluate``; only :mod:`~trainer.evaluation.harness.run`
is called where that may be missing.

>>> from tokenizer.encode import Tokenizer
>>> from tokenizer.train import TrainConfig, train_model
>>> from trainer.evaluation.harness.run import harness_scores
>>> from trainer.evaluation.harness.task_files import Asked
>>> from trainer.model import Model, init
>>> from trainer.shapes.presets import preset
>>> import pyarrow as pa
>>> texts = pa.array(["What is 2 + 3? 2 + 3 = 5"] * 9, pa.large_string())
>>> tokenizer = Tokenizer.load(train_model([texts], TrainConfig(vocab_size=305))[0])
>>> config = preset("tiny", vocab_size=tokenizer.vocab_size, layers=1)
>>> model = Model(config)
>>> init(model, config, seed=1)
>>> asked = Asked("gsm8k_cot", [{"question": "What is 2 + 3?", "answer": "2 + 3 = 5\\n#### 5"}])
>>> for score in harness_scores(model, tokenizer, [asked], window=64):
...     print(score.measure, len(score.values))
generated_strict_match_accuracy 1
generated_flexible_extract_accuracy 1
"""
