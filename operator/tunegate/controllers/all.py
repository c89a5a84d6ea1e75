"""All controllers, in one list."""

from __future__ import annotations

from collections.abc import Callable

from tunegate.controllers.catalogue.basemodel import BaseModelController
from tunegate.controllers.catalogue.pools_policies_suites import (
    ApprovalPolicyController,
    ComputePoolController,
    EvaluationSuiteController,
)
from tunegate.controllers.finetunejob.controller import FineTuneJobController
from tunegate.controllers.mlflow.controller import JobLineageController, ReleaseLineageController
from tunegate.controllers.modelrelease.controller import ModelReleaseController
from tunegate.controllers.modelserver.controller import ModelServerController
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
