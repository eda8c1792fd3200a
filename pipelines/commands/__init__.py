"""The command line: one file per group of commands, each a thin wrapper around a Python API.

    app        run, init, report, schema, doctor, and the groups
    corpus, shards, cache, mixture, training, model, dedup, dedup_index, laws    one group each
    options    options that commands share        plan_target    which plan a command speaks of
    tunnel/    experiments on small models
    terminal/  progress while a run goes on, and what is printed at its end

A command reads options, calls the API that exists without it and prints what came back; a
:class:`~artifacts.errors.UserError` is printed without a traceback and ends with status 1.
Libraries that take long to load are imported by the command that needs them. To see all commands:

>>> from typer.main import get_command
>>> from pipelines.commands.app import app
>>> sorted(get_command(app).commands)[:5]
['branch', 'cache', 'chat', 'compare-scores', 'corpus']

``windtunnel doctor`` in Python:

>>> from pipelines.commands.doctor import examine
>>> [finding.what for finding in examine()][0]
'Python'
"""
