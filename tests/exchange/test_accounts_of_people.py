"""People whose credential is no token: the accounts of examples/licenses/accounts.yaml open registry and MLflow for them."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.exchange.test_push_command import DECLARED, Desk
from tests.support.builders import make_approvalpolicy, make_finetunejob, make_modelrelease
from tests.support.exchange_site import OWN, PROGRAMS, Site

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
CHECKOUT = PROGRAMS.parent
OPENS = {
    "erin": {("create", "datasets"), ("get", "evidence/results"), ("get", "runs"), ("list", "datasets")},
    "eva": {("create", "questions"), ("get", "evidence/answers"), ("get", "evidence/results"), ("list", "datasets")},
    "ravi": {("get", "evidence/answers"), ("get", "evidence/statement"), ("get", "runs"), ("list", "datasets")},
    "ada": {("get", "evidence/answers"), ("get", "evidence/statement"), ("get", "runs"), ("list", "datasets")},
}
NEVER = [
    ("create", "finetunejobs"),
    ("create", "approvals"),
    ("create", "modelreleases"),
    ("create", "evaluationsuites"),
]
"""What an account would do in a second name of its person."""


@pytest.fixture(scope="module")
def kinds(site: Site) -> Site:
    """A site that knows our kinds, on which the platform team made the accounts."""
    for name in (
        "approvalpolicies",
        "modelreleases",
        "finetunejobs",
        "auditrecords",
        "approvals",
        "modelservers",
        "basemodels",
        "computepools",
    ):
        site.kubectl("apply", "--server-side", "-f", str(CHECKOUT / f"crds/{name}.yaml"))
        site.kubectl("wait", "--for=condition=Established", f"crd/{name}.tunegate.io", "--timeout=60s")
    site.kubectl("apply", "-f", str(CHECKOUT / "examples/licenses/accounts.yaml"))
    return site


@pytest.fixture
def desk(kinds: Site, tmp_path: object) -> Desk:
    made = Desk(kinds, tmp_path)  # type: ignore[arg-type]
    made.settings()
    return made


def may(site: Site, account: str, verb: str, resource: str) -> bool:
    kind, _, subresource = resource.partition("/")
    wanted = {"group": "tunegate.io", "verb": verb, "resource": kind, "subresource": subresource, "namespace": OWN}
    review = {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": f"system:serviceaccount:{OWN}:{account}", "resourceAttributes": wanted},
    }  # fmt: skip
    return bool(json.loads(site.kubectl("create", "-o", "json", "-f", "-", stdin=review))["status"]["allowed"])


@pytest.mark.parametrize("person", OPENS)
def test_the_example_gives_each_role_what_the_exchange_asks_for_and_no_second_name_to_decide_in(
    kinds: Site, person: str
) -> None:
    assert {one: may(kinds, person, *one) for one in OPENS[person]} == dict.fromkeys(OPENS[person], True)
    assert [one for one in NEVER if may(kinds, person, *one)] == []


def test_a_person_pushes_through_their_account_and_nobody_elses(desk: Desk) -> None:
    desk.settings(serviceAccount=f"{OWN}/erin")
    done = desk.run("engineer", "data", "push", desk.file(), *DECLARED)
    assert done.returncode == 0, done.stderr
    stranger = desk.run("reviewer", "data", "list")
    assert stranger.returncode == 1
    assert 'cannot create resource "serviceaccounts/token"' in stranger.stderr


def test_access_shows_the_rights_of_the_account_that_the_settings_name(desk: Desk) -> None:
    plain = json.loads(desk.run("engineer", "access", "-o", "json").stdout)
    assert "account" not in plain
    desk.settings(serviceAccount="erin")
    told = json.loads(desk.run("engineer", "access", "-o", "json").stdout)
    rights = {one["right"]: (one["held"], one.get("heldByAccount")) for one in told["rights"]}
    assert told["account"] == f"{OWN}/erin"
    assert rights["push and read data and documents"] == (False, True)
    assert rights["see runs and models in MLflow"] == (True, True)
    assert rights["read answers, rows and statements"] == (False, False)
    assert rights["ask for jobs, suspend and delete them"] == (True, None)
    desk.settings(serviceAccount="ravi")
    foreign = desk.run("engineer", "access", "-o", "json")
    assert foreign.returncode == 0
    assert f"the rights of the account {OWN}/ravi, which your settings name, are not known" in foreign.stderr
    assert "heldByAccount" not in foreign.stdout
    desk.settings(serviceAccount="erin")
    page = desk.run("engineer", "access").stdout
    assert "account erin" in page
    (row,) = [line for line in page.splitlines() if "push and read data" in line]
    assert row.split()[-2:] == ["no", "yes"]


def shown(desk: Desk, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a person whose token the exchange can't be shown."""
    return desk.run("admin", *words, "--as", "erin", "--as-group", "system:masters")


def test_a_release_is_shown_without_what_the_registry_holds_where_no_token_can_be_shown(desk: Desk) -> None:
    release = make_modelrelease("looked-at", OWN)
    desk.site.kubectl("create", "-f", "-", stdin=release)
    status = json.dumps({"status": {"phase": "PendingApproval", "statementDigest": "sha256:" + "1" * 64}})
    desk.site.kubectl(
        "-n", OWN, "patch", "modelrelease", "looked-at", "--type=merge", "--subresource=status", "-p", status
    )
    done = shown(desk, "describe", "release/looked-at")
    assert done.returncode == 0, done.stderr
    assert "licenses-team/looked-at" in done.stdout
    assert "note: the exchange sees the token" in done.stderr
    assert "The page is shown without what the registry holds" in done.stderr


def test_what_the_registry_would_have_shown_is_refused_with_what_shows_the_rest(desk: Desk) -> None:
    desk.site.kubectl("create", "-f", "-", stdin=make_finetunejob("looked-into", OWN))
    stages = [{"name": "Validate", "state": "Done", "attempt": 1, "resultDigest": "sha256:" + "2" * 64}]
    status = json.dumps({"status": {"phase": "Training", "stages": stages}})
    desk.site.kubectl(
        "-n", OWN, "patch", "finetunejob", "looked-into", "--type=merge", "--subresource=status", "-p", status
    )
    done = shown(desk, "inspect", "data", "job/looked-into")
    assert done.returncode == 1
    assert f"What stands in the cluster is shown by: tunegate describe job/looked-into -n {OWN}" in done.stderr
    # The account opens the door: what is said then is that there is nothing.
    by_account = shown(desk, "inspect", "data", "job/looked-into", "--service-account", "ravi")
    assert "the exchange sees the token" not in by_account.stderr
    assert "the registry: " in by_account.stderr


def dry_run(desk: Desk, *words: str, **changes: object) -> subprocess.CompletedProcess[str]:
    """Ask, without asking, for a job with data that the steward has pushed."""
    uri = desk.run("steward", "data", "push", desk.file(), *DECLARED).stdout.strip()
    declared = {"classification": "Internal", "license": "CC-BY-4.0", "source": "tests", "steward": "stella"}
    requester = {"username": "erin", "groups": ["system:masters"]}
    job = make_finetunejob("asked", OWN, dataset={"uri": uri, **declared, **changes}, requestedBy=requester)
    (desk.folder / "job.yaml").write_text(json.dumps(job))
    return shown(desk, "create", "job", "-f", str(desk.folder / "job.yaml"), "--dry-run", *words)


def test_a_job_says_that_its_pushed_data_was_not_checked_and_an_account_checks_it(desk: Desk) -> None:
    done = dry_run(desk, license="MIT")
    assert done.returncode == 0, done.stderr
    assert "warning: pushed data was not checked: the exchange sees the token" in done.stderr
    assert done.stdout.endswith("asked would be created\n")
    checked = dry_run(desk, "--service-account", "erin", license="MIT")
    assert (checked.returncode, "not checked" in checked.stderr) == (0, False), checked.stderr


def test_a_dry_run_of_what_is_sure_to_be_refused_says_so_and_fails_where_warnings_count(desk: Desk) -> None:
    done = dry_run(desk, "--service-account", "erin", expirationDate="2020-01-01")
    assert done.returncode == 0
    assert "warning: The data may be kept until 2020-01-01" in done.stderr
    assert done.stdout.endswith("asked would be created, and be refused\n")
    strict = dry_run(desk, "--service-account", "erin", "--strict", expirationDate="2020-01-01")
    assert (strict.returncode, strict.stdout) == (1, "")
    assert "nothing was created: with --strict warnings count as a refusal" in strict.stderr


@pytest.mark.parametrize(
    ("account", "says"),
    [((), "stella"), (("--service-account", "erin"), f"system:serviceaccount:{OWN}:erin, an account: it keeps nobody")],
    ids=["person", "account"],
)
def test_the_page_of_a_release_says_who_pushed_the_data_and_that_nobody_is_named(
    desk: Desk, account: tuple[str, ...], says: str
) -> None:
    name = "by-account" if account else "by-person"
    file = desk.file(rows=[{"prompt": f"{name} {n}", "completion": str(n)} for n in range(50)])
    pushed = desk.run("admin" if account else "steward", "data", "push", file, *DECLARED, *account)
    assert pushed.returncode == 0, pushed.stderr
    declared = {"classification": "Internal", "license": "CC-BY-4.0", "source": "tests", "steward": "stella"}
    job = make_finetunejob(name, OWN, dataset={"uri": pushed.stdout.strip(), **declared})
    made = json.loads(desk.site.kubectl("create", "-o", "json", "-f", "-", stdin=job))
    release = make_modelrelease(name, OWN, jobRef={"name": name, "uid": made["metadata"]["uid"]})
    desk.site.kubectl("create", "-f", "-", stdin=release)
    page = json.loads(desk.run("auditor", "describe", f"release/{name}", "-o", "json").stdout)
    assert page["data"]["pushedBy"].startswith(says)
    assert page["release"]["contributors"] == "none are named"
    text = desk.run("auditor", "describe", f"release/{name}").stdout
    assert "pushed by" in text
    closed = shown(desk, "describe", f"release/{name}")
    assert "not read: the exchange sees the token" in " ".join(closed.stdout.split())


def test_a_push_that_no_readable_policy_lets_a_job_use_is_warned_of(desk: Desk) -> None:
    policy = make_approvalpolicy("strict", allowedData=["Public"], requiredRights=["SpdxLicense", "Retention"])
    desk.site.kubectl("create", "-f", "-", stdin=policy)
    declared = ["--classification", "Internal", "--license", "our own", "--source", "tests", "--steward", "stella"]
    try:
        done = desk.run("admin", "data", "push", desk.file(), *declared)
        unread = desk.run("steward", "data", "push", desk.file(), *declared)
    finally:
        desk.site.kubectl("delete", "approvalpolicy", "strict")
    assert done.returncode == unread.returncode == 0
    assert "warning: --classification Internal: ApprovalPolicy strict allows Public only" in done.stderr
    assert "warning: --license 'our own': ApprovalPolicy strict asks for an SPDX expression" in done.stderr
    assert "asks how long the data may be kept" in done.stderr
    assert "warning" not in unread.stderr, "stewards need not read policies"
    allowed = desk.run("admin", "data", "push", desk.file(), *declared)
    assert "warning" not in allowed.stderr


def test_a_namespace_that_is_misspelled_is_named_as_such(desk: Desk) -> None:
    desk.settings(serviceAccount="erin")
    command = [*desk.run("engineer", "data", "list").args[:-1], "licenses-taem"]
    done = subprocess.run(command, env=desk.environment("engineer"), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "You hold no right of Tunegate in namespace licenses-taem either" in done.stderr
    own = desk.run("reviewer", "data", "list", "--service-account", "stella")
    assert "You hold no right" not in own.stderr


def test_a_role_that_no_policy_has_comes_with_those_that_there_are(desk: Desk) -> None:
    desk.site.kubectl("create", "-f", "-", stdin=make_approvalpolicy("two-person"))
    desk.site.kubectl("create", "-f", "-", stdin=make_modelrelease("decided", OWN))
    digest = "sha256:" + "3" * 64
    status = json.dumps({"status": {"phase": "PendingApproval", "releaseDigest": digest}})
    desk.site.kubectl(
        "-n", OWN, "patch", "modelrelease", "decided", "--type=merge", "--subresource=status", "-p", status
    )
    desk.site.kubectl("create", "clusterrole", "policies", "--verb=get,list", "--resource=approvalpolicies.tunegate.io")
    desk.site.kubectl("create", "clusterrolebinding", "policies", "--clusterrole=policies", "--group=engineers")
    done = desk.run("engineer", "approve", "release/decided", "--role", "rsik", "--reason", "fine", "--yes")
    desk.site.kubectl("delete", "approvalpolicy", "two-person")
    assert done.returncode == 1
    assert "no policy has such a role: there are compliance, risk" in done.stderr
