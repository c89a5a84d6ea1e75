"""`make demo`: every stage on real input, from an empty machine to a served, approved adapter."""

from __future__ import annotations

import argparse
import sys
import time

from tunegate_demo import inputs, tamper
from tunegate_demo.application import Application
from tunegate_demo.cluster import CHECKOUT, Cluster, connect
from tunegate_demo.failure import DemoFailure
from tunegate_demo.install import install
from tunegate_demo.journey import SERVER, Journey
from tunegate_demo.scale import FULL, QUICK, Scale
from tunegate_demo.screen import Screen
from tunegate_local import timings

STEPS = 13


def run(screen: Screen, scale: Scale, timed_as: str) -> None:
    """Take the whole way and write the report. What its steps took is kept under the name ``timed_as``."""
    cluster = connect(screen)
    with screen.step("Input: license notices and base model", "2 min, 5 s when they are there"):
        fetched = inputs.fetch()
        if not inputs.loaded(cluster.admin, fetched):
            inputs.load(cluster, fetched)
    with screen.step("Install the charts", "90 s"):
        install(cluster)
    before = cluster.tries_beyond()
    journey = Journey(screen, cluster, fetched, scale, run=time.strftime("%m%d-%H%M%S", time.gmtime()))
    with screen.step("Catalogue: pool, policy, base model, server, suite", "1 min"):
        journey.catalogue()
    with screen.step("FineTuneJob: check, baselines, QLoRA, seal, evaluate", scale.job_expected):
        journey.submit()
        journey.follow_job()
    journey.show_scores()
    with screen.step("ModelRelease: evidence sealed", "10 s"):
        journey.request_release()
    with screen.step("A forged approval", "2 s"):
        journey.forge()
    with screen.step("Approvals by two people", "5 s"):
        journey.approve()
    with screen.step("Rollout: pull, verify, load, probe, open the route", "3 min"):
        journey.start_server()
        journey.follow_release()
    application = Application(cluster.admin, SERVER)
    with screen.step("Ask base and tuned model through the gateway", "15 s"):
        application.start(cluster.images["operator"])
        journey.ask(application)
    with screen.step("Flip one byte of the stored adapter", "3 min"):
        flip_and_restore(journey, cluster)
    with screen.step("Lineage: what data, what base, who approved, what runs", "5 s"):
        journey.lineage()
        journey.egress(before)
    journey.report.write(CHECKOUT / "demo-report.json", screen.parts)
    screen.console.print("\n" + timings.keep(timed_as, screen.parts), markup=False, end="")
    farewell(screen, journey, cluster)


def flip_and_restore(journey: Journey, cluster: Cluster) -> None:
    """Show that a changed byte keeps the adapter out, then restore it."""
    admin, image, served = cluster.admin, cluster.images["operator"], journey.report.servedName
    blob = tamper.weights_blob(admin, served)
    tamper.flip(admin, image, blob)
    try:
        tamper.restart_engine(admin, SERVER)
        reason = tamper.adapter_state(admin, SERVER, served, "LeftOut", 240)
        journey.say(f"found, left out: {reason}")
        journey.report.tamper = {"found": True, "reason": reason}
    finally:
        tamper.flip(admin, image, blob)
    tamper.restart_engine(admin, SERVER)
    tamper.adapter_state(admin, SERVER, served, "Ready", 300)
    journey.say("byte restored: the adapter is served again")


def farewell(screen: Screen, journey: Journey, cluster: Cluster) -> None:
    """Say where to look next."""
    total = sum(part.seconds for part in screen.parts)
    kubectl = " ".join(cluster.admin.command())
    screen.console.print(f"\n[bold green]The whole way took {total / 60:.1f} minutes.[/] Report: demo-report.json")
    screen.say(f"story    {kubectl} -n {inputs.TEAM} get finetunejobs,modelreleases,modelservers")
    screen.say(f"why      {kubectl} -n {inputs.TEAM} describe modelrelease {journey.release}")
    screen.say(f"ledger   {kubectl} get auditrecords")
    screen.say('MLflow   tunegate mlflow   (docs/operate.md, "MLflow", says with which token)')
    if cluster.local:
        address = cluster.admin.get("service", SERVER, inputs.TEAM) or {}
        gateway = f"http://{address.get('spec', {}).get('clusterIP', 'ADDRESS')}"
        screen.say(
            f"ask      tunegate ask MODEL QUESTION -n {inputs.TEAM} --gateway {gateway} --service-account …   (docs/road-task.md)"
        )
        screen.say("stop     make cluster-down   (data stays)      make clean   (nothing stays)")
    else:
        screen.say("remove   docs/uninstall.md")


def main() -> int:
    """Run and turn failures into one clear message."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="fewer questions and steps, only prompting to beat (make demo QUICK=1)"
    )
    parser.add_argument("--timed-as", metavar="NAME", help="keep what the steps took under this name")
    options = parser.parse_args()
    screen = Screen(STEPS)
    try:
        scale, name = (QUICK, "demo QUICK=1") if options.quick else (FULL, "demo")
        run(screen, scale, options.timed_as or name)
    except DemoFailure as failure:
        if failure.details:
            screen.console.print(failure.details, markup=False)
        screen.console.print(f"\n[bold red]Stopped in step: {screen.current}[/]")
        screen.console.print(f"  reason  {failure.reason}\n  next    {failure.next_step}", markup=False)
        return 1
    except KeyboardInterrupt:
        screen.console.print(
            f"\nStopped by Ctrl-C in step: {screen.current}. The cluster goes on; `make cluster-down` stops it."
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
