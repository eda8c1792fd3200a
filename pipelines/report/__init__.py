"""Reports: what a run kept, what it dropped and why, as one HTML file to show a colleague.

    from pipelines.report import write_report
    from pipelines.run.record import load_run

    store, record = load_run("runs", "quickstart")
    write_report(store, record)                       # runs/quickstart/report.html

What comes in: a run folder and its ``run.json``. What goes out: ``report.html``, self-contained,
without scripts, the same bytes for the same record. Three names to know: :func:`write_report`;
:func:`~pipelines.report.funnel.read_funnel`, the counts per source and step, also for the terminal;
:func:`~pipelines.report.findings.collect`, the one pass over the tables.
"""

from __future__ import annotations

from pipelines.report.page import write_report

__all__ = ["write_report"]
