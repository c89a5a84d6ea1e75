"""`doctor`: looks at everything that it may, and says how each thing stands. Status 1 when something is wrong."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

import yaml

from tunegate import __version__
from tunegate.admission.definitions import definitions
from tunegate.admission.rules import API, DEFINITION, DEFINITIONS_API, KINDS, Rule, parse
from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.auditrecord import AuditRecord
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.modelserver import ModelServer
from tunegate.api.usage import Usage
from tunegate.cli import screen
from tunegate.cli.cluster import Cluster, Json
from tunegate.cli.doctor import attacks, duties, powers, room, rules
from tunegate.cli.doctor.check import Check, NotSeen, looked, need
from tunegate.cli.doctor.governed import Governed
from tunegate.cli.doctor.installed import Installed, installed
from tunegate.cli.failure import CommandFailure
from tunegate.errors import Terminal
from tunegate.ledger import chain
from tunegate.ledger.sequence import ordered
from tunegate.rbac.holders import holders
from tunegate.rbac.rights import Rights, grants
from tunegate.registry.stored import ROOM_CONFIG_MAP

RBAC = "/apis/rbac.authorization.k8s.io/v1"
COLLECTIONS = ("clusterroles", "roles", "clusterrolebindings", "rolebindings")
LIVE = dict(zip(("validatingadmissionpolicies", "validatingadmissionpolicybindings"), KINDS, strict=True))
T = TypeVar("T")


def doctor(cluster: Cluster, options: Namespace) -> int:
    """Print all checks."""
    checks = _looks(cluster, options)
    if options.output == "text":
        out = screen.console()
        hidden = sum(one.state == "not seen" for one in checks)
        if hidden > len(checks) / 2:
            out.print(
                f"This account may not look at {hidden} of {len(checks)} things, so this says nothing about how they stand. "
                "Auditors and administrators may: ask one of them to run doctor."
            )
        screen.table(out, ("", "WHAT", "FOUND", "DO"), [(one.state, one.name, one.found, one.advice) for one in checks])
        counts = [(state, sum(one.state == state for one in checks)) for state in ("FAIL", "WARN", "not seen")]
        said = ", ".join(f"{count} {state}" for state, count in counts if count)
        out.print(f"{len(checks)} checks: {said or 'all OK'}")
    else:
        screen.write([one.to_dict() for one in checks], options.output)
    return int(any(one.state == "FAIL" for one in checks))


def _looks(cluster: Cluster, options: Namespace) -> list[Check]:
    """Look at one thing after the other; what one look may not read does not keep the others from theirs."""
    system = options.system_namespace
    there = _Part(lambda: installed(cluster, system))
    expected = _Part(lambda: _expected(cluster, there, options.rules))
    held = _Part(lambda: _rights(cluster))
    policies = _Part(lambda: need("approval policies", cluster.all_raw, ApprovalPolicy))
    records = _Part(lambda: _records(cluster))
    inside = Governed(cluster)
    servers = _Part(lambda: inside.all_of(ModelServer, there.seen().namespaces))
    source = " and ".join((options.rules or "the operator's ConfigMap", f"tunegate {__version__}"))
    looks: dict[str, Callable[[], Iterable[Check]]] = {
        "Kubernetes": lambda: [rules.version(_version(cluster))],
        "admission rules": lambda: [rules.admission(expected.seen(), _live(cluster, expected.seen()), source)],
        "assurance level": lambda: rules.level(expected.seen(), cluster.whoami(), policies.seen()),
        "namespaces and policies": lambda: duties.roles(
            held.seen(), there.seen().governed, {one["metadata"]["name"]: one for one in policies.seen()}
        ),
        "separate duties": lambda: duties.overlaps(held.seen(), there.seen().namespaces),
        "ways around": lambda: powers.powers(held.seen(), system),
        "changes of powers": lambda: [_changes(records.seen(), held.seen(), there.seen())],
        "ledger": lambda: rules.ledger(records.seen(), there.seen().settings, datetime.now(UTC)),
        "anchors": lambda: [rules.anchors(there.seen().settings)],
        "objects": lambda: [inside.objects(one) for one in there.seen().namespaces],
        "network policies": lambda: [inside.network(one) for one in there.seen().namespaces],
        "external addresses": lambda: [attacks.addresses(inside.services())],
        "engine images": lambda: [attacks.engines(servers.seen(), there.seen().engine_images)],
        "revocations": lambda: [attacks.closings(servers.seen())],
        "base model volumes": lambda: [attacks.volumes(servers.seen())],
        "tries on suites": lambda: [attacks.tries(inside.all_of(EvaluationSuite, there.seen().namespaces))],
        "quotas by person": lambda: [attacks.floods(inside.all_of(Usage, there.seen().namespaces))],
        "room in the registry": lambda: _room(cluster, there.seen()),
        "attacks in the ledger": lambda: [attacks.told(records.seen())],
    }  # fmt: skip
    return [check for name, look in looks.items() for check in looked(name, look)]


class _Part(Generic[T]):
    """Something that several looks need: read once, and for each look either there or not to be seen."""

    def __init__(self, read: Callable[[], T]) -> None:
        self._found: list[T] = []
        self._why = ""
        try:
            self._found.append(read())
        except NotSeen as error:
            self._why = str(error)

    def seen(self) -> T:
        """Return it. Raises ``NotSeen``."""
        if not self._found:
            raise NotSeen(self._why)
        return self._found[0]


def _expected(cluster: Cluster, there: _Part[Installed], path: str | None) -> tuple[Rule, ...]:
    """Return the rules that should hold: of a file that the person brings, else those of the operator; and our CRDs."""
    if path is None:
        return (*there.seen().rules(cluster), *definitions())
    try:
        return (*parse(Path(path).read_text()), *definitions())
    except OSError as error:
        raise CommandFailure(f"--rules {path}: {error.strerror}") from error
    except (Terminal, yaml.YAMLError):
        raise CommandFailure(f"--rules {path}: no admission rules; make it with helm template") from None


def _version(cluster: Cluster) -> Json:
    return need("the version of Kubernetes", cluster.read, "/version") or {}


def _live(cluster: Cluster, expected: Sequence[Rule]) -> list[Json]:
    path = f"/apis/{DEFINITIONS_API}/customresourcedefinitions"
    names = [rule.name for rule in expected if rule.kind == DEFINITION]
    crds = [need("customresourcedefinitions", cluster.read, f"{path}/{name}") for name in names]
    policies = [
        {**one, "kind": kind}
        for plural, kind in LIVE.items()
        for one in need(plural, cluster.listed, f"/apis/{API}/{plural}")
    ]
    return [*policies, *filter(None, crds)]


def _rights(cluster: Cluster) -> Rights:
    roles, namespaced, wide, bindings = (need(plural, cluster.listed, f"{RBAC}/{plural}") for plural in COLLECTIONS)
    return Rights(grants(roles, namespaced, wide, bindings))


def _records(cluster: Cluster) -> list[Json]:
    found = ordered(need("the ledger", cluster.all_raw, AuditRecord))
    return [one.to_dict() for one in map(chain.readable, found) if one is not None]


def _room(cluster: Cluster, there: Installed) -> list[Check]:
    """Judge the chart's registry; one of the site's has owners of its own."""
    if not there.settings.get("TUNEGATE_REGISTRY_VOLUME_URL"):
        return []
    path = f"/api/v1/namespaces/{there.namespace}/configmaps/{ROOM_CONFIG_MAP}"
    return [room.judge(need(f"ConfigMap {there.namespace}/{ROOM_CONFIG_MAP}", cluster.read, path), datetime.now(UTC))]


def _changes(records: Sequence[Json], rights: Rights, there: Installed) -> Check:
    held = holders(rights, there.namespace, there.namespaces)
    return powers.recorded(records, held, there.namespace, there.settings)
