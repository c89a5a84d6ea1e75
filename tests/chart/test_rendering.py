"""What the chart makes of its values: rights, security of pods, identities, stores."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support import helm
from tunegate.admission.definitions import definitions
from tunegate.settings import HistoryLimits

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
EXTERNAL: dict[str, Any] = {
    "registry": {"enabled": False, "external": {"host": "harbor.example:443", "authSecret": "harbor"}},
    "mlflow": {
        "enabled": False,
        "external": {"uri": "https://mlflow.example", "authSecret": "mlflow"},
    },
}
MATRIX: dict[str, dict[str, Any]] = {
    "minimal": {},
    "nothing governed": {"governedNamespaces": []},
    "own namespaces": {"createNamespaces": True},
    "external stores": EXTERNAL,
    "no lineage": {"mlflow": {"enabled": False}},
    "plain registry": {"registry": {"enabled": False, "external": {"host": "localhost:5050", "plainHTTP": True}}},
    "site authority": {"caBundle": CERTIFICATE},
    "mirror": {"hubMirror": {"endpoint": "https://hub.example"}},
    "pull secrets": {"imagePullSecrets": ["pull-a", "pull-b"]},
    "no network policies": {"networkPolicies": {"enabled": False}},
    "given API server": {"networkPolicies": {"apiServerCIDRs": ["10.0.0.1/32"]}},
    "own ledger key": {"ledger": {"keySecret": "our-key", "anchorClaim": "worm", "checkpointRecords": 5}},
    "anchors elsewhere": {
        "ledger": {
            "anchorBucket": {"name": "worm-bucket", "secret": "worm-store", "retentionDays": 30},
            "timestamps": {"url": "https://tsa.example/tsa", "roots": CERTIFICATE},
            "syslog": "tls://logs.example:6514",
        },
        "networkPolicies": {"anchorEgress": [{"ports": [{"port": 443, "protocol": "TCP"}]}]},
    },
    "identity provider": {"networkPolicies": {"issuerEgress": [{"ports": [{"port": 443, "protocol": "TCP"}]}]}},
    "exposed servers": {"expose": {"domains": ["models.example.com"]}},
    "one replica": {"operator": {"replicas": 1, "priorityClassName": "high", "nodeSelector": {"a": "b"}}},
}
AUTHORITIES = "--authorities=/etc/tunegate/authorities/authorities.pem"


def hook_arguments(objects: list[helm.Json]) -> list[str]:
    """Return what the hook that makes credentials is asked for."""
    arguments: list[str] = dict(helm.pod_specs(objects))["tunegate-credentials"]["containers"][0]["args"]
    return arguments


@pytest.fixture(scope="module", params=list(MATRIX))
def objects(request: pytest.FixtureRequest) -> list[helm.Json]:
    return helm.render(helm.values(**MATRIX[request.param]))


def test_no_object_is_made_twice(objects: list[helm.Json]) -> None:
    names = [(o["apiVersion"], o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
    assert len(names) == len(set(names))


def test_every_pod_is_unprivileged(objects: list[helm.Json]) -> None:
    specs = helm.pod_specs(objects)
    assert specs
    for name, spec in specs:
        security = spec["securityContext"]
        assert (security["runAsNonRoot"], security["runAsUser"], security["fsGroup"]) == (True, 65532, 65532), name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["enableServiceLinks"] is False
        assert spec["automountServiceAccountToken"] is (
            name in ("tunegate-operator", "tunegate-credentials", "tunegate-exchange")
        )
        for container in spec["containers"] + spec.get("initContainers", []):
            own = container["securityContext"]
            assert (own["readOnlyRootFilesystem"], own["allowPrivilegeEscalation"]) == (True, False), name
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert "@sha256:" in container["image"]
            assert container["resources"]["limits"]["memory"]


def test_every_volume_that_is_mounted_exists(objects: list[helm.Json]) -> None:
    for name, spec in helm.pod_specs(objects):
        there = {volume["name"] for volume in spec["volumes"]}
        for container in spec["containers"] + spec.get("initContainers", []):
            assert {mount["name"] for mount in container["volumeMounts"]} <= there, name


def test_no_program_has_a_wildcard_right_and_pods_are_reached_only_where_governed(objects: list[helm.Json]) -> None:
    programs = ("tunegate-operator", "tunegate-operator-events", "tunegate-gateway", "tunegate-exchange")
    for role in [o for o in objects if o["kind"] in {"Role", "ClusterRole"} and o["metadata"]["name"] in programs]:
        for rule in role["rules"]:
            assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]], role["metadata"]["name"]
    operator = helm.one(objects, "ClusterRole", "tunegate-operator")
    everywhere = {resource for rule in operator["rules"] for resource in rule["resources"]}
    assert not everywhere & {"pods", "secrets", "jobs", "deployments", "configmaps"}


def test_the_ledger_can_be_appended_to_and_nothing_else() -> None:
    objects = helm.render(helm.values())
    rules = helm.one(objects, "ClusterRole", "tunegate-operator")["rules"]
    verbs = {verb for rule in rules if "auditrecords" in rule["resources"] for verb in rule["verbs"]}
    assert verbs == {"get", "list", "watch", "create"}


def test_no_program_may_change_a_kubernetes_job(objects: list[helm.Json]) -> None:
    rules = [rule for o in objects if o["kind"] in {"Role", "ClusterRole"} for rule in o["rules"]]
    verbs = {verb for rule in rules if {"jobs", "jobs/status"} & set(rule["resources"]) for verb in rule["verbs"]}
    assert "create" in verbs
    assert verbs <= {"get", "list", "watch", "create", "delete"}


@pytest.mark.parametrize(
    ("history", "deletable"),
    [({}, []), ({"endedJobs": 100}, ["finetunejobs"]), ({"endedReleases": 5}, ["modelreleases"]),
     ({"endedJobs": 100, "endedReleases": 5}, ["finetunejobs", "modelreleases"])],
)  # fmt: skip
def test_the_operator_deletes_jobs_and_releases_only_where_their_number_is_limited(
    history: dict[str, int], deletable: list[str]
) -> None:
    objects = helm.render(helm.values(history=history))
    namespace = helm.values()["governedNamespaces"][0]["name"]
    rules = helm.one(objects, "Role", "tunegate-operator", namespace=namespace)["rules"]
    own = [rule for rule in rules if rule["apiGroups"] == ["tunegate.io"] and "delete" in rule["verbs"]]
    assert [resource for rule in own for resource in rule["resources"]] == deletable
    limits = HistoryLimits.model_validate_json(helm.environment(objects)["TUNEGATE_HISTORY"])
    assert (limits.ended_jobs, limits.ended_releases) == (history.get("endedJobs", 0), history.get("endedReleases", 0))


def test_the_operator_lists_rbac_of_the_cluster_only_where_it_looks_at_powers() -> None:
    def rights(**operator: Any) -> list[list[str]]:
        rules = helm.one(helm.render(helm.values(operator=operator)), "ClusterRole", "tunegate-operator")["rules"]
        return [rule["verbs"] for rule in rules if "rbac.authorization.k8s.io" in rule["apiGroups"]]

    assert rights() == [["list"]]
    assert rights(powersSeconds=0) == []


def test_the_operator_reads_our_crds_and_no_others() -> None:
    rules = helm.one(helm.render(helm.values()), "ClusterRole", "tunegate-operator")["rules"]
    (rule,) = [rule for rule in rules if "customresourcedefinitions" in rule["resources"]]
    assert set(rule["resourceNames"]) == {one.name for one in definitions()}
    assert rule["verbs"] == ["get"]


@pytest.mark.parametrize(
    ("domains", "verbs"),
    [([], ["get", "delete"]), (["models.example.com"], ["get", "create", "patch", "delete"])],
    ids=["none", "one"],
)
def test_what_leads_to_servers_is_made_only_under_a_domain_and_deleted_always(
    domains: list[str], verbs: list[str]
) -> None:
    given = helm.values(expose={"domains": domains})
    namespace = given["governedNamespaces"][0]["name"]
    rules = helm.one(helm.render(given), "Role", "tunegate-operator", namespace=namespace)["rules"]
    granted = [rule["verbs"] for rule in rules if set(rule["resources"]) & {"ingresses", "httproutes"}]
    assert granted == [verbs, verbs]


def test_each_governed_namespace_gets_its_identities() -> None:
    objects = helm.render(helm.values())
    for namespace in ("team-a", "team-b"):
        for account in ("tunegate-stage", "tunegate-serving"):
            assert helm.one(objects, "ServiceAccount", account, namespace)["automountServiceAccountToken"] is False
        assert helm.one(objects, "RoleBinding", "tunegate-operator", namespace)
        assert helm.one(objects, "NetworkPolicy", "tunegate-default-deny", namespace)["spec"]["podSelector"] == {}
    bound = [o for o in objects if o["kind"] == "RoleBinding" and o["metadata"].get("namespace", "").startswith("team")]
    stages = [s for o in bound for s in o.get("subjects", []) if s["name"] == "tunegate-stage"]
    assert not stages, "stage pods have no rights"


def test_the_operator_mounts_its_own_password_at_mlflow_and_nobody_elses() -> None:
    objects = helm.render(helm.values())
    volumes = {volume["name"]: volume for volume in dict(helm.pod_specs(objects))["tunegate-operator"]["volumes"]}
    user, passwords = volumes["mlflow"]["projected"]["sources"]
    assert user["configMap"]["items"] == [{"key": "operator-user", "path": "username"}]
    assert helm.one(objects, "ConfigMap", "tunegate-mlflow")["data"]["operator-user"] == "tunegate-operator"
    assert passwords["secret"]["items"] == [{"key": "operator", "path": "password"}]


def test_the_registry_gets_the_certificate_of_the_signing_key_and_never_the_key() -> None:
    spec = dict(helm.pod_specs(helm.render(helm.values())))["tunegate-registry"]
    token = next(volume for volume in spec["volumes"] if volume["name"] == "token")["secret"]
    assert token["items"] == [{"key": "tls.crt", "path": "tls.crt"}]


def test_the_exchange_asks_two_questions_and_has_no_other_right() -> None:
    objects = helm.render(helm.values())
    rules = helm.one(objects, "ClusterRole", "tunegate-exchange")["rules"]
    granted = {(*rule["resources"], *rule["verbs"]) for rule in rules}
    assert granted == {("tokenreviews", "create"), ("subjectaccessreviews", "create")}
    bound = [
        one["metadata"]["name"]
        for one in objects
        if one["kind"] in ("RoleBinding", "ClusterRoleBinding")
        and any(subject["name"] == "tunegate-exchange" for subject in one["subjects"])
    ]
    assert bound == ["tunegate-exchange"]


def test_the_exchange_understands_every_setting_that_it_is_given() -> None:
    from tunegate.exchange import settings

    container = dict(helm.pod_specs(helm.render(helm.values())))["tunegate-exchange"]["containers"][0]
    told = settings.from_environment({one["name"]: one["value"] for one in container["env"]})
    assert told.namespaces == ("team-a", "team-b")
    assert told.max_bytes == 5 * settings.GIB
    assert (told.registry_host, told.mlflow_uri) == (
        "tunegate-registry.tunegate-system.svc:5000",
        "https://tunegate-mlflow.tunegate-system.svc:5000",
    )


@pytest.mark.parametrize(
    ("changes", "volumes"),
    [
        (MATRIX["no lineage"], {"tmp", "ca", "tls", "registry-token"}),
        ({"registry": EXTERNAL["registry"]}, {"tmp", "ca", "tls", "mlflow"}),
    ],
    ids=["a registry and no MLflow", "MLflow and a registry of the site"],
)
def test_the_exchange_holds_keys_of_those_stores_alone_that_the_chart_runs(
    changes: dict[str, Any], volumes: set[str]
) -> None:
    from tunegate.exchange import settings

    objects = helm.render(helm.values(**changes))
    spec = dict(helm.pod_specs(objects))["tunegate-exchange"]
    settings.from_environment({one["name"]: one["value"] for one in spec["containers"][0]["env"]})
    assert {one["name"] for one in spec["volumes"] if not one["name"].startswith("token")} == volumes
    assert "--server=exchange" in hook_arguments(objects)


def test_mlflow_is_reached_by_the_operator_and_the_exchange_which_has_one_password() -> None:
    objects = helm.render(helm.values())
    peers = helm.one(objects, "NetworkPolicy", "tunegate-mlflow")["spec"]["ingress"][0]["from"]
    labels = [one["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for one in peers]
    assert labels == ["operator", "exchange"]
    volumes = {volume["name"]: volume for volume in dict(helm.pod_specs(objects))["tunegate-exchange"]["volumes"]}
    assert volumes["mlflow"]["secret"]["items"] == [{"key": "exchange", "path": "password"}]
    assert "tunegate-exchange" not in dict(helm.pod_specs(helm.render(helm.values(**EXTERNAL))))


def test_a_given_ledger_key_and_anchor_claim_are_mounted_and_no_key_is_made() -> None:
    objects = helm.render(helm.values(**MATRIX["own ledger key"]))
    assert "--ledger-key" not in hook_arguments(objects)
    volumes = {volume["name"]: volume for volume in dict(helm.pod_specs(objects))["tunegate-operator"]["volumes"]}
    assert volumes["ledger"]["secret"]["secretName"] == "our-key"
    assert volumes["anchors"]["persistentVolumeClaim"] == {"claimName": "worm"}
    told = helm.environment(objects)
    assert (told["TUNEGATE_ANCHOR_FOLDER"], told["TUNEGATE_CHECKPOINT_RECORDS"]) == ("/var/lib/tunegate/anchors", "5")


def test_bucket_and_time_authority_are_the_operators_alone() -> None:
    objects = helm.render(helm.values(**MATRIX["anchors elsewhere"]))
    told = helm.environment(objects)
    assert (told["TUNEGATE_ANCHOR_BUCKET"], told["TUNEGATE_ANCHOR_PREFIX"]) == ("worm-bucket", "tunegate/")
    assert (told["TUNEGATE_ANCHOR_DAYS"], told["TUNEGATE_TIMESTAMP_URL"]) == ("30", "https://tsa.example/tsa")
    assert told["TUNEGATE_ANCHOR_SYSLOG"] == "tls://logs.example:6514"
    held = [name for name, spec in helm.pod_specs(objects) if "worm-store" in json.dumps(spec)]
    assert held == ["tunegate-operator"]
    roots = helm.one(objects, "ConfigMap", "tunegate-timestamp-roots")
    assert roots["data"] == {"roots.pem": CERTIFICATE}
    wide = {"ports": [{"port": 443, "protocol": "TCP"}]}
    open_ = [
        o["metadata"]["name"] for o in objects if o["kind"] == "NetworkPolicy" and wide in o["spec"].get("egress", [])
    ]
    assert open_ == ["tunegate-operator"]


@pytest.mark.parametrize(
    ("ledger", "says"),
    [
        ({"anchorBucket": {"name": "worm-bucket"}}, "ledger.anchorBucket.secret must name the Secret"),
        ({"timestamps": {"url": "https://tsa.example"}, "anchorClaim": "worm"}, "ledger.timestamps.roots must hold"),
        (
            {"timestamps": {"url": "https://tsa.example", "roots": CERTIFICATE}},
            "ledger.anchorClaim or ledger.anchorBucket",
        ),
    ],
)
def test_anchors_that_cannot_work_are_refused(ledger: dict[str, Any], says: str) -> None:
    assert says in helm.refusal(helm.values(ledger=ledger))


def test_only_the_operator_mounts_the_ledger_key(objects: list[helm.Json]) -> None:
    held = [name for name, spec in helm.pod_specs(objects) if "ledger" in json.dumps(spec["volumes"])]
    assert held == ["tunegate-operator"]


def test_own_stores_are_what_the_operator_is_told() -> None:
    told = helm.environment(helm.render(helm.values()))
    assert told["TUNEGATE_REGISTRY_HOST"] == "tunegate-registry.tunegate-system.svc:5000"
    assert told["TUNEGATE_MLFLOW_URI"] == "https://tunegate-mlflow.tunegate-system.svc:5000"
    assert json.loads(told["TUNEGATE_GOVERNED"]) == helm.MINIMAL["governedNamespaces"]


def test_the_operator_is_told_of_a_mirror_only_where_the_site_names_one() -> None:
    told = helm.environment(helm.render(helm.values(hubMirror={"endpoint": "https://hub.example/models"})))
    assert told["TUNEGATE_HUB_ENDPOINT"] == "https://hub.example/models"
    assert "TUNEGATE_HUB_ENDPOINT" not in helm.environment(helm.render(helm.values()))


def test_the_operator_understands_every_setting_that_it_is_given(objects: list[helm.Json]) -> None:
    from tunegate import settings

    told = helm.environment(objects)
    assert settings.from_environment(told).system_namespace == helm.SYSTEM


def test_external_stores_bring_no_store_along() -> None:
    objects = helm.render(helm.values(**EXTERNAL))
    told = helm.environment(objects)
    assert told["TUNEGATE_REGISTRY_HOST"] == "harbor.example:443"
    assert told["TUNEGATE_REGISTRY_AUTH_FILE"].endswith(".dockerconfigjson")
    assert "TUNEGATE_REGISTRY_TOKEN_KEY" not in told
    assert told["TUNEGATE_MLFLOW_URI"] == "https://mlflow.example"
    assert {name for name, _ in helm.pod_specs(objects)} == {"tunegate-operator", "tunegate-credentials"}
    assert not [o for o in objects if o["kind"] == "PersistentVolumeClaim"]
    assert hook_arguments(objects) == ["--namespace=tunegate-system", "--ledger-key", AUTHORITIES]


def test_without_any_authority_no_empty_one_is_trusted() -> None:
    objects = helm.render(helm.values(**EXTERNAL))
    assert "TUNEGATE_CA_FILE" not in helm.environment(objects)


def test_a_site_authority_reaches_who_writes_down_whom_pods_trust() -> None:
    objects = helm.render(helm.values(caBundle=CERTIFICATE))
    assert helm.one(objects, "ConfigMap", "tunegate-credentials")["data"] == {"authorities.pem": CERTIFICATE}


def test_what_holds_data_survives_an_uninstall() -> None:
    objects = helm.render(helm.values(createNamespaces=True))
    kept = {
        (o["kind"], o["metadata"]["name"])
        for o in objects
        if o["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
    }
    assert {(o["kind"], o["metadata"]["name"]) for o in objects if o["kind"] == "PersistentVolumeClaim"} <= kept
    assert ("Namespace", "team-a") in kept


def test_no_store_may_reach_anything() -> None:
    objects = helm.render(helm.values())
    for store in ("tunegate-registry", "tunegate-mlflow"):
        assert helm.one(objects, "NetworkPolicy", store)["spec"]["egress"] == []


def test_only_who_is_named_reads_metrics() -> None:
    monitoring = {"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}
    objects = helm.render(helm.values(networkPolicies={"metricsFrom": [monitoring]}))
    for name, namespace, port in (("tunegate-servers", "team-a", 8081), ("tunegate-operator", "tunegate-system", 8080)):
        ingress = helm.one(objects, "NetworkPolicy", name, namespace)["spec"]["ingress"]
        assert {"from": [monitoring], "ports": [{"port": port, "protocol": "TCP"}]} in ingress
