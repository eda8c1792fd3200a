"""What commands look like on a terminal: progress while they run, tables at their end.

    phases ─ progress ─▶ a live view, or plain lines where nobody watches
    run.json ─ outcome, training ─▶ funnel, places, losses, how to go on
    plan ─ plan ─▶ its table          kernels' costs ─ roofline ─▶ floors and the speed they allow

Everything printed comes from a record, a plan or a number that a Python API returned; nothing is
computed here. In a folder with the starter's run:

>>> from rich.console import Console
>>> from pipelines.commands.terminal.outcome import funnel_table
>>> from pipelines.run.record import load_run
>>> store, record = load_run("runs", "starter")
>>> table = funnel_table(record, width=100)
>>> [column.header for column in table.columns][:2]
['source', 'read']
"""
