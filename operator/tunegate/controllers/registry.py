"""All controllers, in one list."""

from __future__ import annotations

from collections.abc import Callable

from tunegate.controllers.basemodel import BaseModelController
from tunegate.controllers.catalogue import ApprovalPolicyController, ComputePoolController, EvaluationSuiteController
from tunegate.controllers.finetunejob import FineTuneJobController
from tunegate.controllers.lineage import JobLineageController, ReleaseLineageController
from tunegate.controllers.modelrelease import ModelReleaseController
from tunegate.controllers.modelserver import ModelServerController
from tunegate.controllers.services import Controller, Services

CONTROLLERS: tuple[Callable[[Services], Controller], ...] = (
    BaseModelController,
    ComputePoolController,
    ApprovalPolicyController,
    EvaluationSuiteController,
    FineTuneJobController,
    ModelReleaseController,
    ModelServerController,
    JobLineageController,
    ReleaseLineageController,
)
