"""Whatever happens to pods, Jobs and the operator, and whenever: the job keeps its promises and comes to its end."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.job_world import SECRET, World
from tests.support.stage_documents import GOOD, evaluated, trained, validated

LIMITS = {"maxDisruptions": 3, "maxErrors": 1}
FINAL = ("Succeeded", "Failed")
METHOD = {"type": "LoRA", "numNodes": 2}


class JobMachine(RuleBasedStateMachine):
    """Random operator kills, pod ends, deletions, suspensions and outages."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.finals: list[Any] = []
        self.counted: dict[str, int] = {}
        self.attempts: dict[str, int] = {}

    @initialize(source=st.sampled_from(["one node", "two nodes", "import"]))
    def begin(self, source: str) -> None:
        spec: dict[str, Any] = {"limits": LIMITS}
        if source == "import":
            spec |= {"source": "Import", "method": None, "adapter": {"uri": "pvc://data/adapter"}}
        elif source == "two nodes":
            spec["method"] = METHOD
        self.world.spec = spec
        self.two = source == "two nodes"

    @rule(kill_after=st.one_of(st.none(), st.integers(0, 7)))
    def operator_reconciles(self, kill_after: int | None) -> None:
        self.world.reconcile(kill_after)

    @rule(kill_after=st.one_of(st.none(), st.none(), st.integers(0, 7)))
    def a_while_goes_by(self, kill_after: int | None) -> None:
        """The usual course of things: the operator acts, Kubernetes follows."""
        self.world.reconcile(kill_after)
        self.world.make_pods()
        self.world.run_pods()
        self.world.sync_jobs()
        self.world.pass_time(5)

    @rule(stages=st.integers(1, 3), finish=st.booleans())
    def stages_succeed(self, stages: int, finish: bool) -> None:
        """Bring the job on; at the end a pod is at work, or has just given its answer."""
        for _ in range(stages):
            for _ in range(6):
                self.a_while_goes_by(None)
                self.world.reap()
                if self.world.active_pods():
                    break
            for pod in self.world.active_pods():
                self.world.answer(pod)
            self.world.sync_jobs()
        if not finish:
            for _ in range(3):
                self.a_while_goes_by(None)

    @rule()
    def kubernetes_makes_pods(self) -> None:
        self.world.make_pods()

    @rule()
    def pods_vanish(self) -> None:
        self.world.reap()

    @rule(seconds=st.sampled_from([1, 15, 700]))
    def time_passes(self, seconds: int) -> None:
        self.world.pass_time(seconds)

    @precondition(lambda self: self.world.active_pods())
    @rule(
        data=st.data(), how=st.sampled_from(["good", "mute", 1, 3, 4, 5, 75, 137, "oom", "evict"]), synced=st.booleans()
    )
    def a_pod_ends(self, data: st.DataObject, how: Any, synced: bool) -> None:
        pod = data.draw(st.sampled_from(self.world.active_pods()))
        if how == "good":
            self.world.answer(pod)
        elif how == "mute":
            self.world.end_pod(pod, 0, "Completed")
        elif how == "oom":
            self.world.end_pod(pod, 137, "OOMKilled")
        elif how == "evict":
            self.world.evict(pod)
        else:
            self.world.end_pod(pod, how)
        if synced:
            self.world.sync_jobs()

    @precondition(lambda self: self.world.active_pods())
    @rule(
        verdict=st.sampled_from(
            [validated("Refused"), trained("Diverged"), evaluated("Fail"), evaluated("Inconclusive")]
        )
    )
    def a_stage_says_no(self, verdict: Any) -> None:
        for pod in self.world.active_pods():
            if pod["metadata"]["labels"]["tunegate.io/stage"] == verdict.stage:
                self.world.answer(pod, verdict)
        self.world.sync_jobs()

    @rule(code=st.sampled_from([1, 75, 5]), times=st.integers(1, 3))
    def attempts_keep_failing(self, code: int, times: int) -> None:
        for _ in range(times):
            for _ in range(4):
                self.a_while_goes_by(None)
                self.world.reap()
                if self.world.active_pods():
                    break
            for pod in self.world.active_pods():
                self.world.end_pod(pod, code)
            self.world.sync_jobs()
            self.a_while_goes_by(None)
            self.world.pass_time(30)

    @precondition(lambda self: self.world.active_pods())
    @rule(data=st.data())
    def somebody_deletes_a_pod(self, data: st.DataObject) -> None:
        self.world.terminate(data.draw(st.sampled_from(self.world.active_pods())))

    @precondition(lambda self: self.world.jobs)
    @rule(data=st.data())
    def somebody_deletes_a_job(self, data: st.DataObject) -> None:
        self.world.delete("Job", data.draw(st.sampled_from(sorted(self.world.jobs))))

    @rule()
    def somebody_deletes_the_credential(self) -> None:
        self.world.delete("Secret", SECRET)

    @rule(suspend=st.sampled_from([False, False, True]))
    def the_engineer_suspends(self, suspend: bool) -> None:
        self.world.spec["suspend"] = suspend
        self.world.generation += 1

    @rule(down=st.sampled_from([False, False, True]))
    def the_registry_fails(self, down: bool) -> None:
        self.world.registry_down = down

    @invariant()
    def at_most_one_attempt_runs(self) -> None:
        assert len([job for job in self.world.jobs.values() if not self.world.over(job)]) <= 1
        running = {
            pod["metadata"]["labels"]["job-name"]
            for pod in self.world.pods.values()
            if pod["status"]["phase"] == "Running"
        }
        assert len(running) <= 1, running

    @invariant()
    def the_operator_stops_a_running_attempt_only_when_told_to(self) -> None:
        assert not self.world.stopped_unasked

    @invariant()
    def an_attempt_has_one_job(self) -> None:
        """A Job that the status counts is never made again under its name."""
        for name, times in self.counted.items():
            assert self.world.history.count(name) == times, name
        for stage in self.world.status.get("stages", []):
            if stage.get("jobName") and stage["jobName"] in self.world.history:
                self.counted.setdefault(stage["jobName"], self.world.history.count(stage["jobName"]))

    @invariant()
    def attempts_only_grow_and_budgets_hold(self) -> None:
        for stage in self.world.status.get("stages", []):
            assert stage["attempt"] >= self.attempts.get(stage["name"], 0)
            self.attempts[stage["name"]] = stage["attempt"]
            assert stage["disruptions"] <= LIMITS["maxDisruptions"] + 1
            assert stage["errors"] <= LIMITS["maxErrors"] + 1
            if self.world.status["phase"] not in FINAL:
                assert stage["disruptions"] <= LIMITS["maxDisruptions"]
                assert stage["errors"] <= LIMITS["maxErrors"]

    @invariant()
    def the_end_is_final_and_on_record(self) -> None:
        status = self.world.status
        if status.get("phase") not in FINAL:
            assert not self.finals
            return
        end = (status["phase"], status["message"], status["completionTime"], status["stages"], status.get("gate"))
        self.finals.append(end)
        assert end == self.finals[0]
        assert list(self.world.audit.values()).count("JobFinished") == 1
        assert list(self.world.audit.values()).count("JobRequested") == 1

    def teardown(self) -> None:
        """From wherever it is, the job converges once things go well, and then nothing is written any more."""
        self.world.spec["suspend"] = False
        self.world.settle()
        phase = self.world.status["phase"]
        assert phase in FINAL, self.world.status
        stages = {stage["name"]: stage["state"] for stage in self.world.status["stages"]}
        if phase == "Succeeded":
            assert set(stages.values()) == {"Done"}
            assert list(self.world.audit.values()).count("AdapterSealed") == 1
        before = self.world.writes
        for _ in range(3):
            step = self.world.reconcile()
            assert step is not None
            assert not step.deletes
            assert not step.creates
            assert not step.applies
            assert not step.audit
        assert self.world.writes == before
        assert not [job for job in self.world.jobs.values() if not self.world.over(job)]


TestJobSurvivesAnything = JobMachine.TestCase
TestJobSurvivesAnything.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
assert set(GOOD) == {"Validate", "Baseline", "Train", "Seal", "Evaluate"}
