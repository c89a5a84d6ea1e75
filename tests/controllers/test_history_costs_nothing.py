"""What ended long ago costs no request: the same passes beside little history and beside ten times as much.

The pages of listings are made small, so that anything that lists history shows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import builders, past
from tests.support.control_plane import ControlPlane, Member, running_control_plane
from tests.support.counting_client import CountingClient
from tests.support.governed_namespace import CHART
from tests.support.programs import program
from tests.support.waiting import run_program
from tunegate.api.approval import Approval
from tunegate.api.markers import API_VERSION
from tunegate.api.modelrelease import ModelRelease
from tunegate.controllers.approvals import read_approvals
from tunegate.controllers.catalogue.pools_policies_suites import ComputePoolController, EvaluationSuiteController
from tunegate.controllers.dispatch.resync import COMPLETE_SECONDS, Resync
from tunegate.controllers.dispatch.routing import Routing
from tunegate.controllers.finetunejob.controller import FineTuneJobController
from tunegate.controllers.modelrelease.controller import ModelReleaseController
from tunegate.controllers.modelserver.controller import ModelServerController
from tunegate.controllers.quotas import Quotas
from tunegate.controllers.services import Services
from tunegate.kube import client as client_module
from tunegate.kube.client import ObjectKey, ObjectRef
from tunegate.ledger.entry import AuditEntry
from tunegate.ledger.writer import LedgerWriter
from tunegate.reconcile.approvals import recorded
from tunegate.reconcile.modelrelease.ledger_entries import subject_of
from tunegate.registry.client import RegistryClient
from tunegate.settings import GovernedNamespace, Settings
