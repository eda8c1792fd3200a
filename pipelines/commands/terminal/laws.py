"""Laws on the terminal: a fit with all that belongs beside it, and a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.commands.options import print_table
from pipelines.commands.terminal.shown import print_text

_OTHERS = {"chinchilla": "Chinchilla", "besiroglu": "Besiroglu", "paper": "MiniCPM"}


def print_fit(found: Mapping[str, Any]) -> None:
    """The constants, then what they rest on."""
    print_text(
        f"L(N, D) = E + A/N^alpha + B/D^beta on {_count(found['points'], 'point')} of "
        f"{_count(found['sizes'], 'size')} and {_count(found['lengths'], 'length')}; losses "
        f"{found['unit']}; {found['loss']}.\n"
    )
    _print_constants(found)
    print_text(f"\nInterval: {_said_of_interval(found['interval'])}.")
    print_text(f"Fit: {_said_of_fit(found['lack_of_fit'])}.")
    print_text(found["paper"]["sentence"])
    if "published" in found:
        _print_published(found)
    _print_losses(found)
    if found["methods"]:
        _print_methods(found)
    _print_optima(found)
    _print_forest(found)
    for name, own in found.get("sources", {}).items():
        print_text(f"\nHeld-out source {name}:\n")
        _print_constants(own)
        print_text(own["paper"]["sentence"])
    if found.get("columns_not_read"):
        print_text(f"\nColumns that were not read: {', '.join(found['columns_not_read'])}.")


def print_plan(plan: Mapping[str, Any]) -> None:
    """What to train, and what being off costs."""
    intervals, batch, rate = plan["intervals"], plan["batch"], plan["rate"]
    print_text(f"{_number(plan['operations'])} operations of training by {plan['law']}.")
    if "hardware" in plan:
        own = plan["hardware"]
        print_text(
            f"That is {own['hours']:g} hours of {own['count']} × {own['device']} at "
            f"{own['share']:.0%} of the peak."
        )
    times = plan["times_the_largest_run"]
    if times is not None and times > 1:
        print_text(f"{times:.3g} times the largest run of the fit: an extrapolation.")
    for name, reason in plan["undetermined_because"].items():
        print_text(f"The law's {name} is not determined ({reason}): the plan rests on a guess.")
    print_text("")
    rows = [
        ("parameters N", _number(plan["parameters"]), _range(intervals["parameters"])),
        ("tokens D", _number(plan["tokens"]), _range(intervals["tokens"])),
        ("D/N", f"{plan['ratio']:.1f}", _range(intervals["ratio"])),
        (f"loss, {plan['unit']}", f"{plan['loss']:.4f}", _range(plan["loss_interval"], ".4f")),
        ("batch, tokens", _number(batch["tokens"]), f"at loss {batch['at_loss']:.3f}"),
        ("peak rate", f"{rate['peak']:g}", f"hidden weights {rate['hidden']:.2g}"),
        ("width", str(rate["width"]), f"m = {rate['m']:g}"),
    ]
    print_table(("what", "value", "95 % interval, or remark"), rows)
    print_text(f"\nThe batch is for the loss of {batch['loss_of']}.")
    if plan["loss_interval"] is None:
        print_text("The law was published without what intervals could be made of.")
    off = ", ".join(f"{one['size_times']:g}× {one['loss_more']:.4f}" for one in plan["off"])
    print_text(f"Loss more, at the same operations, of a model of another size: {off}.")
    if "ratio_by_rounded_constants" in plan:
        print_text(
            f"By the constants as Chinchilla's paper rounds them D/N is "
            f"{plan['ratio_by_rounded_constants']:.1f}."
        )
    _print_inference(plan)
    if "unique" in plan:
        own = plan["unique"]
        print_text(
            f"\nWith {_number(own['unique_tokens'])} unique tokens: {_number(own['parameters'])} "
            f"parameters, {_number(own['tokens'])} tokens, {own['epochs']:.2f} epochs, loss "
            f"{own['loss']:.4f} (repeats lose worth as in arXiv 2305.16264)."
        )
    if "paper_sets" in plan:
        _print_paper_sets(plan["paper_sets"])


def _print_constants(found: Mapping[str, Any]) -> None:
    rows = []
    for name in ("E", "A", "B", "alpha", "beta"):
        remark = "" if found["determined"][name] else found["undetermined_because"][name]
        remark = remark and f"not determined: {remark}"
        rows.append((name, f"{found[name]:.6g}", _range(found["intervals"][name]), remark))
    print_table(("constant", "value", "95 % interval", "remark"), rows)


def _print_published(found: Mapping[str, Any]) -> None:
    own = found["published"]
    values = ", ".join(f"{name} {own[name]:g}" for name in ("E", "A", "B", "alpha", "beta"))
    print_text(
        f"Objective {found['objective']:.8f} at the optimum. {own['by']} print {values}: "
        f"{own['why']}."
    )


def _print_losses(found: Mapping[str, Any]) -> None:
    budget = _number(found["forest_operations"])
    print_text("\nBy what is made small:\n")
    rows = [
        (
            own["meaning"],
            *(f"{own[name]:.5g}" for name in ("E", "A", "B", "alpha", "beta", "ratio")),
            ", ".join(own["bounds_active"]) or "none",
        )
        for own in found["losses"].values()
    ]
    print_table(("loss", "E", "A", "B", "alpha", "beta", f"D/N at {budget}", "at a bound"), rows)


def _print_methods(found: Mapping[str, Any]) -> None:
    print_text(f"\nIntervals of D/N at {_number(found['forest_operations'])} by method:\n")
    rows = []
    for kind, own in found["methods"].items():
        label = own["coverage"]
        share = (
            "not simulated"
            if label["coverage"] is None
            else f"{label['coverage']:.1%} ±{label['error']:.1%} ({label['design']})"
        )
        mark = "headline" if own["headline"] else ""
        rows.append((kind, _range(own["ratio"]), share, mark, own["meaning"]))
    print_table(("method", "95 % interval", "held in simulation", "", "how"), rows)


def _print_optima(found: Mapping[str, Any]) -> None:
    print_text("\nOptimal over compute:\n")
    rows = [
        (
            _number(row["operations"]) + ("*" if row["extrapolated"] else ""),
            _number(row["parameters"]),
            _number(row["tokens"]),
            f"{row['ratio']:.3g}",
            _range(row["intervals"]["ratio"]),
            *(f"{row['others'][name]:.3g}" for name in _OTHERS),
        )
        for row in found["optimal"]
    ]
    others = [f"{name} D/N" for name in _OTHERS.values()]
    print_table(("operations", "N", "D", "D/N", "95 % interval", *others), rows)
    if any(row["extrapolated"] for row in found["optimal"]):
        print_text("* beyond the largest run.")


def _print_forest(found: Mapping[str, Any]) -> None:
    print_text(f"\nD/N at {_number(found['forest_operations'])} with one choice made otherwise:\n")
    rows = [
        (row["kind"], row["change"], row["points"], f"{row['ratio']:.3g}",
         f"{row['alpha']:.3f}", f"{row['beta']:.3f}")
        for row in found["forest"]
    ]  # fmt: skip
    print_table(("choice", "change", "points", "D/N", "alpha", "beta"), rows)


def _print_inference(plan: Mapping[str, Any]) -> None:
    if "inference" not in plan:
        return
    own = plan["inference"]
    same, bounded = own["same_loss"], own["within_budget"]
    print_text(
        f"\nWith {_number(own['tokens'])} tokens served: the same loss costs least, all told, at "
        f"{_number(same['parameters'])} parameters and {_number(same['tokens'])} tokens "
        f"({same['saves']:.1%} less). If the budget has to pay for serving too: "
        f"{_number(bounded['parameters'])} parameters, {_number(bounded['tokens'])} tokens, loss "
        f"{bounded['loss']:.4f}. Laws fitted near the optimum overstate what data give at ratios "
        "far from it."
    )


def _print_paper_sets(found: Mapping[str, Any]) -> None:
    print_text("\nMiniCPM's held-out sets at 1e21 operations:\n")
    rows = [(own["name"], f"{own['ratio']:.1f}", f"{own['printed']:.2f}") for own in found["sets"]]
    print_table(("held-out set", "D/N by printed constants", "D/N as printed"), rows)
    print_text(found["why_printed_differ"])


def _said_of_interval(own: Mapping[str, Any]) -> str:
    if own["kind"] is None:
        return f"none, since {own['because']}"
    label = own["coverage"]
    held = ""
    if label["coverage"] is not None:
        held = f"; in simulation ({label['design']}) such intervals of D/N hold the law's "
        held += f"{label['coverage']:.1%} of the time"
        if label["coverage_of_surface"] != label["coverage"]:
            held += f", the true optimum {label['coverage_of_surface']:.1%}"
    return (
        f"{own['kind']}, {own['meaning']}; Student's t with {own['degrees']:g} degrees of freedom; "
        f"taken because {own['because']}{held}"
    )


def _said_of_fit(own: Mapping[str, Any] | str) -> str:
    if isinstance(own, str):
        return f"not tested: {own}"
    said = "misses by more than" if own["found"] else "misses by no more than"
    return (
        f"the law {said} seeds explain, F({own['degrees']}, {own['noise_degrees']:.0f}) = "
        f"{own['statistic']:.2f}, p = {own['p']:.3g}"
    )


def _range(interval: Mapping[str, float] | None, form: str = ".4g") -> str:
    if interval is None:
        return "none"
    return f"{interval['low']:{form}} to {interval['high']:{form}}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _number(value: float) -> str:
    return f"{value:.4g}"
