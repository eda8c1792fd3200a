"""Rule sets by the name a recipe uses.

To add one, write its :class:`~pipelines.signals.rules.RuleSet` in a file of its own and list it in
:data:`RULE_SETS`. The dictionary is read at each call, so a program may add to it while it runs.
"""

from __future__ import annotations

from collections.abc import Mapping

from artifacts.errors import UserError
from pipelines.signals.gopher_rules import GOPHER_QUALITY, GOPHER_QUALITY_ZH
from pipelines.signals.rules import Rule, RuleSet

RULE_SETS: dict[str, RuleSet] = {rules.name: rules for rules in (GOPHER_QUALITY, GOPHER_QUALITY_ZH)}


def named_rules(name: str) -> RuleSet:
    """The rule set of this name. Raises: UserError for an unknown one."""
    if name not in RULE_SETS:
        raise UserError("no such rule set", field="rules", found=name, allowed=RULE_SETS)
    return RULE_SETS[name]


def rule_set(name: str, thresholds: Mapping[str, float | None] | None = None) -> tuple[Rule, ...]:
    """The rules of a set, thresholds replaced by option name; ``None`` leaves a rule out.

    Raises: UserError for an unknown set or option, or a threshold that is not a finite number.
    """
    return named_rules(name).with_thresholds(thresholds or {})
