"""Words that the admission rules have to repeat from the models, since CEL cannot import them."""

from __future__ import annotations

import re

from tests.support import helm
from tunegate.api.modelrelease import MAY_SERVE


def test_the_rule_against_deleting_names_all_phases_that_may_serve() -> None:
    done = helm.run(
        ["template", "tunegate", str(helm.CHART), "-n", helm.SYSTEM, "--show-only", "templates/admission/records.yaml"],
        helm.values(),
    )
    assert done.returncode == 0, done.stderr

    (phases,) = re.findall(r"oldObject\.status\.phase in \[([^]]*)\]", done.stdout)
    assert MAY_SERVE == tuple(word.strip(" '") for word in phases.split(","))
