'''Programs that a model writes: drawn, run where they can do no harm, and scored.

    file ─ problems ─▶ prompts ─ a model ─▶ completions ─ pass_rate ─▶ score of every problem
                                               │ trial           ▲ passed or not, and why
                                            sandbox: guard ─ judge ─ program, behind walls

Nothing is run unless somebody calls for it: importing these modules runs nothing.
:mod:`~trainer.evaluation.programs.sandbox` starts a process for every sample; what happens in it is
:mod:`~trainer.evaluation.programs.inside`, and what holds it back
:mod:`~trainer.evaluation.programs.walls` and :mod:`~trainer.evaluation.programs.system_calls`.

>>> from trainer.evaluation.programs.sandbox import Limits, Sandbox, Trial
>>> sandbox = Sandbox.here(Limits(seconds=5))
>>> sandbox.run(Trial("def double(x): return 2 * x", "assert double(4) == 8", ("double",)))
Outcome(passed=True, reason='')
>>> program = """
... import os
... def double(x):
...     os._exit(0)
... """
>>> sandbox.run(Trial(program, "assert double(4) == 8", ("double",)))
Outcome(passed=False, reason='the program ended')
'''
