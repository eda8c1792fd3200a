"""Reports: what a run kept, what it dropped and why, as one HTML file to show a colleague.

    run.json, tables ─ findings ─▶ counts, samples, curves ─ page ─▶ report.html
    id ─ explain ─▶ what happened to one document

What comes in: a run folder and its ``run.json``. What goes out: ``report.html``, self-contained,
without scripts, the same bytes for the same record. The names you need:
:func:`~pipelines.report.page.write_report`; :func:`~pipelines.report.funnel.read_funnel`, the
counts per source and step, also for the terminal; :func:`~pipelines.report.findings.collect`, the
one pass over the tables; :func:`~pipelines.report.explain.explain_document`. In a folder with the
starter's run:

>>> from pipelines.report.explain import explain_document
>>> from pipelines.report.funnel import read_funnel
>>> from pipelines.report.page import write_report
>>> from pipelines.run.record import load_run
>>> store, record = load_run("runs", "starter")
>>> write_report(store, record)
'report.html'
>>> funnel = read_funnel(record)
>>> [row.source for row in funnel.rows], funnel.total.kept < funnel.total.entered
(['web', 'instructions'], True)
>>> page = "web:website:content/en/docs/v3.6/learning/data_model.md"
>>> facts = explain_document(store, record, page)
>>> facts["stage"], facts["reason"]
('minhash_dedup', 'near_duplicate')
"""
