"""The way of one model: job, verdict, release, approvals, answers, a flipped byte, the lineage."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import datetime

import yaml

from tunegate.api.stage.layout import BASE_SERVED_NAME
from tunegate_demo.application import Application
from tunegate_demo.cluster import Cluster
from tunegate_demo.command_line import tunegate
from tunegate_demo.failure import DemoFailure
from tunegate_demo.inputs import TEAM, Inputs
from tunegate_demo.kubectl import Object
from tunegate_demo.manifests import render
from tunegate_demo.report import Report
from tunegate_demo.scale import Scale
from tunegate_demo.screen import Screen

SERVER = "licenses"
MODEL_NAME = "holders"
BASE = "smollm2-135m-instruct"
CONTENT = "demo.tunegate.io/content"
"""Annotation of the suite: what questions and rules it was made of."""
ARM_KEYS = {
    "BasePlain": "base",
    "BaseFewShot": "fewShot",
    "BasePlainGuided": "baseGuided",
    "BaseFewShotGuided": "fewShotGuided",
    "NearestNeighbor": "nearestNeighbor",
    "Regex": "regex",
    "Classifier": "classifier",
}


@dataclass
class Journey:
    """One run: names end in ``run``, since records are kept forever and never made twice."""

    screen: Screen
    cluster: Cluster
    inputs: Inputs
    scale: Scale
    run: str
    report: Report = field(default_factory=Report)

    @property
    def job(self) -> str:
        return f"holders-{self.run}"

    @property
    def release(self) -> str:
        return f"holders-{self.run}"

    def catalogue(self) -> None:
        """Make what platform team, policy owner and evaluation owner own, each as its owner; wait for the hashed base model."""
        admin = self.cluster.admin
        for name in ("computepool", "basemodel"):
            admin.apply(self.manifest(name))
        self.cluster.user("policy-owner").apply(self.manifest("approvalpolicy"))
        self._make_suite()
        if admin.get("modelserver", SERVER, TEAM) is None:
            admin.apply(self.manifest("modelserver"))
            self.say(
                f"ModelServer {SERVER}: an engine profile for jobs; no engine runs before there is something to serve"
            )
        else:
            self.say(f"ModelServer {SERVER} is there already and keeps its engine profile")
        found = admin.watch(
            "basemodel",
            BASE,
            "",
            until=lambda o: self._phase(o) in {"Ready", "Failed"},
            show=lambda o: None,
            timeout=420,
        )
        if self._phase(found) == "Failed":
            raise DemoFailure(f"the base model was refused: {found['status'].get('message')}", "see `kubectl describe`")
        status = found["status"]
        self.say(f"base model: {status['parameters']:,} weights, {status['files']} files, {status['manifestDigest']}")
        self.report.digests["baseModel"] = status["manifestDigest"]

    def _make_suite(self) -> None:
        """Create the suite as its owner; one of an earlier run that was made of other questions or rules is replaced."""
        owner, document = self.cluster.user("evaluation-owner"), self.manifest("evaluationsuite")
        metadata = yaml.safe_load(document)["metadata"]
        found = owner.get("evaluationsuite", metadata["name"], TEAM)
        if (
            found is not None
            and (found["metadata"].get("annotations") or {}).get(CONTENT) != metadata["annotations"][CONTENT]
        ):
            owner.run("-n", TEAM, "delete", "evaluationsuite", metadata["name"])
            found = None
        if found is None:
            owner.run("create", "-f", "-", document=document)

    def manifest(self, name: str, job_uid: str = "") -> str:
        """Return a manifest of the example with this run's names, digests and images filled in."""
        return render(
            name, run=self.run, scale=self.scale, inputs=self.inputs, images=self.cluster.images, job_uid=job_uid
        )

    def submit(self) -> None:
        """Submit the job as the engineer."""
        tunegate(self.cluster.user("engineer"), "create", "job", "-f", "-", document=self.manifest("finetunejob"))
        self.say(f"erin submitted FineTuneJob {TEAM}/{self.job}")

    def follow_job(self) -> None:
        """Show the job's stages, one step each, until it has a verdict."""
        seen = {"phase": "", "line": ""}

        def show(found: Object) -> None:
            status = found.get("status", {})
            phase, progress = status.get("phase", "Pending"), status.get("progress") or {}
            if phase != seen["phase"]:
                self.say(f"[{phase}] {status.get('message', '')}" + self._expected(phase))
                seen["phase"] = phase
            line = f"    {progress.get('percent', 0):3d} %"
            if progress.get("totalSteps"):
                line += f"  step {progress.get('step', 0)}/{progress['totalSteps']}  loss {progress.get('loss', '-')}"
            if progress.get("remainingSeconds") is not None:
                line += f"  about {progress['remainingSeconds']} s left"
            if progress.get("percent") and line != seen["line"]:
                self.screen.console.print(line, markup=False)
                seen["line"] = line

        found = self.cluster.user("engineer").watch(
            "finetunejob",
            self.job,
            TEAM,
            until=lambda o: self._phase(o) in {"Succeeded", "Failed"},
            show=show,
            timeout=3000,
        )
        self._take_job(found)

    def _take_job(self, found: Object) -> None:
        status = found["status"]
        if status["phase"] == "Failed":
            raise DemoFailure(
                f"FineTuneJob failed: {status.get('message')}",
                f"kubectl -n {TEAM} describe finetunejob {self.job}",
                self.cluster.admin.explain("finetunejob", self.job, TEAM),
            )
        gate = status["gate"]
        self.report.digests["dataset"] = status["dataset"]["digest"]
        self.report.digests["adapter"] = status["adapter"]["manifestDigest"]
        self.report.gate = gate
        self.report.mlflowRun = status.get("mlflowRunId", "")
        self.report.scores["tuned"] = _scores(gate["metrics"])
        for arm in gate["arms"]:
            self.report.scores[ARM_KEYS[arm["name"]]] = _scores(arm["metrics"])
        for stage in status["stages"]:
            self.say(f"{stage['name']}: {stage['state']}, attempt {stage['attempt']}, {seconds_of(stage)} s")

    def show_scores(self) -> None:
        """Print every cheap alternative beside the tuned model."""
        gate = self.report.gate
        rows = [["tuned", gate["tuned"], "", "", ""]]
        rows += [
            [arm["name"], arm["score"], arm["difference"], f"{arm['lower']} … {arm['upper']}", arm["outcome"]]
            for arm in gate["arms"]
        ]
        title = f"{gate['metric']} on {gate['questions']} questions, measured in vLLM"
        self.screen.table(title, ["", "score", "tuned minus this", "95 % interval", "gate"], rows)
        for guardrail in gate.get("guardrails", []):
            self.say(f"guardrail {guardrail['name']}: tuned {guardrail['tuned']}, base {guardrail['base']}")
        self.say(f"gate: {gate['outcome']}")

    def request_release(self) -> None:
        """Ask for the release as the engineer and wait for its sealed evidence."""
        engineer = self.cluster.user("engineer")
        job = engineer.require("finetunejob", self.job, TEAM)
        tunegate(
            engineer, "create", "release", "-f", "-", document=self.manifest("modelrelease", job["metadata"]["uid"])
        )
        found = engineer.watch(
            "modelrelease",
            self.release,
            TEAM,
            until=lambda o: self._phase(o) in {"PendingApproval", "Denied", "Failed"},
            show=lambda o: None,
            timeout=120,
        )
        digest = found["status"].get("releaseDigest")
        if not digest:
            raise DemoFailure(f"no evidence: {found['status'].get('message')}", "see `kubectl describe modelrelease`")
        self.report.digests["release"] = digest
        self.say(f"release {self.release}: {digest}")

    def forge(self) -> None:
        """Let a reviewer pretend to be the other one, and the engineer approve her own release: both must fail."""
        release = self.cluster.admin.require("modelrelease", self.release, TEAM)
        forged = {
            "apiVersion": "tunegate.io/v1alpha1",
            "kind": "Approval",
            "metadata": {"generateName": f"{self.release}-", "namespace": TEAM},
            "spec": {
                "subjectRef": {"kind": "ModelRelease", "name": self.release, "uid": release["metadata"]["uid"]},
                "subjectDigest": release["status"]["releaseDigest"],
                "role": "compliance",
                "decision": "Approve",
                "reason": "looks good",
                "approver": {"username": "cora", "groups": ["tunegate:compliance"]},
                "expirationTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600)),
            },
        }
        done = self.cluster.user("reviewer-risk").attempt("create", "-f", "-", document=json.dumps(forged))
        if done.returncode == 0:
            raise DemoFailure(
                "a forged approval was admitted", "the admission policies are not in force: check the chart"
            )
        message = done.stderr.strip()
        self.report.forgedApproval = {"refused": True, "message": message}
        self.say(f"ravi approving as cora: refused\n    {message}")
        own = self.cluster.user("engineer").attempt("create", "-f", "-", document=json.dumps(forged))
        if own.returncode == 0:
            raise DemoFailure("the engineer could approve", "the admission policies are not in force: check the chart")
        self.say("erin approving as cora: refused")

    def approve(self) -> None:
        """Approve as two people, each with their own credentials, after reading the page."""
        page = tunegate(self.cluster.user("reviewer-risk"), "describe", f"release/{self.release}", "-n", TEAM)
        self.screen.console.print(page, markup=False)
        for role, hat in (("reviewer-risk", "model-risk"), ("reviewer-compliance", "compliance")):
            arguments = (
                "approve",
                self.release,
                "-n",
                TEAM,
                "--role",
                hat,
                "--reason",
                "evaluation report read",
                "--yes",
            )
            tunegate(self.cluster.user(role), *arguments)
            self.say(f"{role} approved as {hat}")

    def start_server(self) -> None:
        """Let the server run, as the platform team, now that there is something to serve."""
        admin = self.cluster.admin
        if admin.require("modelserver", SERVER, TEAM)["spec"]["replicas"] == 0:
            patch = json.dumps({"spec": {"replicas": 1}})
            admin.run("-n", TEAM, "patch", "modelserver", SERVER, "--type=merge", f"--patch={patch}")
            self.say(f"ModelServer {SERVER}: spec.replicas is 1 now, its first engine starts")

    def follow_release(self) -> None:
        """Wait until the approved adapter answers."""
        seen = {"line": ""}

        def show(found: Object) -> None:
            status = found.get("status", {})
            line = f"[{status.get('phase')}] approvals {status.get('approvals', '-')}: {status.get('message', '')}"
            if line != seen["line"]:
                self.say(line)
                seen["line"] = line

        found = self.cluster.admin.watch(
            "modelrelease",
            self.release,
            TEAM,
            until=lambda o: self._phase(o) in {"Serving", "Denied", "Revoked", "Failed"},
            show=show,
            timeout=600,
        )
        if self._phase(found) != "Serving":
            raise DemoFailure(
                f"the release is {self._phase(found)}: {found['status'].get('message')}",
                f"kubectl -n {TEAM} describe modelrelease {self.release}",
                self.cluster.admin.explain("modelserver", SERVER, TEAM),
            )
        self.report.servedName = found["status"]["servedName"]
        self.report.approvers = sorted(approval["username"] for approval in found["status"]["counted"])

    def ask(self, application: Application) -> None:
        """Ask base and tuned model the same question through the gateway, as an application with its own token."""
        row = json.loads(self.inputs.suites[self.scale.suite_file].read_text().splitlines()[0])
        messages = row["messages"][:-1]
        self.say(f"question: {messages[-1]['content']!r}")
        for key, model in (("base", BASE_SERVED_NAME), ("tuned", MODEL_NAME)):
            answer = application.ask(model, messages)
            self.report.answers[key] = answer["choices"][0]["message"]["content"]
            self.say(f"{key} ({answer['model']}): {self.report.answers[key]!r}")

    def lineage(self) -> None:
        """Print the answer to the auditor's question and verify the ledger."""
        auditor = self.cluster.user("auditor")
        self.screen.console.print(tunegate(auditor, "who", MODEL_NAME, "-n", TEAM), markup=False)
        self.screen.console.print(tunegate(auditor, "audit", "verify"), markup=False)
        job = auditor.require("finetunejob", self.job, TEAM)
        self.report.mlflowRun = job["status"].get("mlflowRunId", self.report.mlflowRun)

    def egress(self, before: tuple[int, list[str]]) -> None:
        """Say whether any pod tried to reach beyond the cluster since ``before`` (local cluster only)."""
        if not self.cluster.local:
            return
        packets, names = self.cluster.tries_beyond()
        self.report.egress = {"refusedPackets": packets - before[0], "names": names[len(before[1]) :]}
        self.say(f"tries to reach beyond the cluster: {self.report.egress}")

    def say(self, text: str) -> None:
        """Print one fact."""
        self.screen.say(text)

    @staticmethod
    def _phase(found: Object) -> str:
        return str(found.get("status", {}).get("phase", ""))

    def _expected(self, phase: str) -> str:
        expected = self.scale.expected.get(phase)
        return f" (about {expected})" if expected else ""


def _scores(metrics: list[Object]) -> dict[str, float]:
    """Return scores with the report's keys, as numbers."""
    return {entry["name"][0].lower() + entry["name"][1:]: float(entry["score"]) for entry in metrics}


def seconds_of(stage: Object) -> int:
    """Return how long a stage took, from its times."""
    if not stage.get("startTime") or not stage.get("completionTime"):
        return 0
    start, end = (datetime.fromisoformat(stage[key]) for key in ("startTime", "completionTime"))
    return int((end - start).total_seconds())
