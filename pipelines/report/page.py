"""The report of a run: one self-contained HTML file that loads nothing and runs nothing.

Documents are hostile: every value goes through jinja2's escaping, control characters are spelled
out, no link leads out of the page, and a content security policy forbids scripts and requests.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from ruamel.yaml import YAML

from artifacts.paths import Store
from artifacts.visible_text import visible
from pipelines.report import numerals
from pipelines.report.calls import earlier_stretches, step_costs
from pipelines.report.corpus_sections import (
    benchmark_section,
    distributions_section,
    duplicates_section,
    funnel_section,
    overlap_section,
    reasons_section,
)
from pipelines.report.domain_section import domains_section
from pipelines.report.findings import Findings, collect
from pipelines.report.funnel import read_funnel
from pipelines.report.kept_samples import kept_section
from pipelines.report.losses import warnings
from pipelines.report.quarantine_rows import quarantined_by_reason
from pipelines.report.recipe_stages import is_finished, recorded_stages
from pipelines.report.scores_section import scores_section
from pipelines.report.signal_charts import signals_section
from pipelines.report.summary import summary_section
from pipelines.report.text_funnel import read_text_funnel
from pipelines.report.training_cost import training_costs
from pipelines.report.training_section import training_section

REPORT = "report.html"


def write_report(store: Store, record: dict[str, Any]) -> str:
    """Write the report of a recorded run into its folder, whole or not at all; returns its name
    there.

    ``record``: the content of ``run.json``. The bytes are a function of the record and the files it
    names.
    """
    store.write(REPORT, render(record, collect(store, record)).encode())
    return REPORT


def render(record: dict[str, Any], found: Findings) -> str:
    """The page as text, in which nothing that a document or a name holds acts or hides."""
    funnel, steps = read_funnel(record), step_costs(record)
    return visible(
        _environment()
        .get_template("page.html.j2")
        .render(
            record=record,
            recipe=record["recipe"],
            stages=recorded_stages(record),
            total=funnel.total,
            warnings=warnings(record),
            summary=summary_section(record, funnel, found.trainings),
            funnel=funnel_section(funnel, read_text_funnel(record, funnel)),
            reasons=reasons_section(record, found),
            kept=kept_section(found.kept, found.excerpts),
            distributions=distributions_section(record, funnel, found),
            signals=signals_section(found.signals),
            domains=domains_section(found.domains),
            duplicates=duplicates_section(record, found),
            overlap=overlap_section(record, found),
            benchmarks=benchmark_section(record, found),
            training=training_section(record, found.trainings, found.reached),
            scores=scores_section(record, found.trainings),
            exported=(record.get("training") or {}).get("export"),
            costs=training_costs(record, found.trainings),
            finished=is_finished(record),
            quarantined=quarantined_by_reason(record),
            found=found,
            rows={row.source: row for row in funnel.rows},
            earlier=list(earlier_stretches(record)),
            steps=steps,
            seconds=sum(step.seconds for step in steps),
            yaml=_yaml(record["recipe"]),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": numerals.count,
        "share": numerals.share,
        "size": numerals.byte_size,
        "duration": numerals.duration,
        "ratio": numerals.ratio,
        "quantity": numerals.quantity,
        "in_unit": numerals.in_unit,
        "operations": numerals.operations,
        "signed": numerals.signed,
        "difference": numerals.difference,
        "uncertain": numerals.uncertain,
    }
    return environment


def _yaml(recipe: dict[str, Any]) -> str:
    writer = YAML()
    writer.width = 110
    out = io.StringIO()
    writer.dump(recipe, out)
    return out.getvalue()
