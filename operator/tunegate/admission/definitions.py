"""Our CRDs as rules: what this very program's models say.

They are generated at start (a tenth of a second, two megabytes) and not handed over by the chart: what the operator
believes of its objects and what it holds the cluster to then cannot differ.
"""

from __future__ import annotations

from tunegate.admission.rules import DEFINITION, Rule
from tunegate.api.crd import definition
from tunegate.api.kinds import KINDS


def definitions() -> tuple[Rule, ...]:
    """Return all CRDs of the group."""
    made = map(definition, KINDS)
    return tuple(Rule(DEFINITION, one["metadata"]["name"], one["spec"]) for one in made)
