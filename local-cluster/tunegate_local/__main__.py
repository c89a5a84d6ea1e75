"""Command line of the local cluster."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tunegate_local import (
    binaries,
    cleanup,
    cluster,
    cluster_dns,
    debian,
    failure,
    image_registry,
    images,
    lock,
    network,
    packet_filter,
    preflight,
    processes,
    settings,
    status,
    users,
)
from tunegate_local.failure import Failure
from tunegate_local.progress import say

DESCRIPTION = """\
A real single-node Kubernetes on this machine, for the demo and the tests.

State lies in $TUNEGATE_STATE (default /var/lib/tunegate-local), what can be fetched or built again in $TUNEGATE_CACHE
(default ~/.cache/tunegate)."""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="tunegate_local", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("start", help="start the cluster; what runs already is left alone")
    commands.add_parser("stop", help="stop it and take back every process, mount, interface and packet filter rule")
    wipe = commands.add_parser("wipe", help="stop it and remove its state")
    wipe.add_argument("--cache", action="store_true", help="also remove built programs, images and the image registry")
    commands.add_parser("status", help="show what runs and how to reach it; exit code 1 when something does not run")
    build = commands.add_parser("images", help="build the container images that changed and push them")
    build.add_argument("--only", nargs="+", metavar="NAME", choices=images.NAMES, help=", ".join(images.NAMES))
    build.add_argument("--registry", metavar="HOST/REPO", help="push to this registry instead of the node's own")
    config = commands.add_parser("kubeconfig", help="print the path of a person's kubeconfig")
    roles = [user.role for user in users.PEOPLE]
    config.add_argument("role", nargs="?", default="admin", choices=roles, help=", ".join(roles))
    program = commands.add_parser("program", help="print the path of a client program")
    program.add_argument("name", choices=["kubectl", "helm"])
    logs = commands.add_parser("logs", help="print the last lines of a component's log")
    logs.add_argument("component", nargs="?", choices=status.COMPONENTS, help="all when left out")
    logs.add_argument("-n", "--lines", type=int, default=failure.LOG_LINES)
    egress = commands.add_parser(
        "egress",
        help="block or allow what pods send beyond the cluster (blocked from the start); alone: show what tried",
    )
    egress.add_argument("choice", nargs="?", choices=["block", "allow"])
    egress.add_argument("--json", action="store_true", help="show it as JSON: refusedPackets, names")
    clean = commands.add_parser(
        "check-clean", help="list what of the cluster is left on the machine; exit code 1 if any"
    )
    clean.add_argument("--wiped", action="store_true", help="count the state directory too")
    clean.add_argument("--cache", action="store_true", help="with --wiped: count the cache directory too")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        return _carry_out(parser().parse_args(arguments))
    except Failure as problem:
        sys.stderr.write(problem.text() + "\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; `start` goes on where it stopped, `stop` takes everything back\n")
        return 130


def _carry_out(options: argparse.Namespace) -> int:
    match options.command:
        case "start":
            preflight.require_linux_root()
            with lock.held(settings.STATE, "cluster"):
                cluster.start()
        case "stop":
            preflight.require_linux_root()
            with lock.held(settings.STATE, "cluster"):
                cleanup.stop()
        case "wipe":
            preflight.require_linux_root()
            with lock.held(settings.STATE, "cluster"):
                cleanup.wipe(options.cache)
        case "status":
            return 0 if status.show() else 1
        case "images":
            preflight.require_linux_root()
            _build_images(options)
        case "kubeconfig":
            say(str(_existing(users.kubeconfig(options.role))))
        case "program":
            say(str(_existing(binaries.component(options.name))))
        case "logs":
            _show_logs([options.component] if options.component else list(status.COMPONENTS), options.lines)
        case "egress" if options.choice is None:
            preflight.require_linux_root()
            _show_egress(options.json)
        case "egress":
            preflight.require_linux_root()
            packet_filter.choose_egress(options.choice == "allow")
            if network.bridge_exists():
                packet_filter.prepare()
            say(f"egress of pods: {options.choice}")
        case "check-clean":
            found = cleanup.leftovers_after_wipe(options.cache) if options.wiped else cleanup.leftovers()
            say("\n".join(found) if found else "nothing is left")
            return 1 if found else 0
    return 0


def _show_egress(as_json: bool) -> None:
    if not network.bridge_exists():
        raise Failure("egress", "the cluster does not run", "start it: python3 -m tunegate_local start")
    packets, names = packet_filter.refused_packets(), cluster_dns.names_beyond()
    if as_json:
        say(json.dumps({"refusedPackets": packets, "names": names}))
        return
    say(f"egress of pods: {'allow' if packet_filter.egress_allowed() else 'block'}")
    say(f"packets refused since the start: {packets}")
    say(
        "\n".join(["names asked for beyond the cluster:", *names])
        if names
        else "no name beyond the cluster was asked for"
    )


def _build_images(options: argparse.Namespace) -> None:
    with lock.held(settings.CACHE, "images"):
        (settings.CACHE / cluster.MARKER).write_text(cluster.MARKER_TEXT)
        debian.ensure(debian.IMAGE_PACKAGES)
        settings.BIN.mkdir(parents=True, exist_ok=True)
        binaries.ensure_registry()
        image_registry.start()
        names = options.only or list(images.NAMES)
        images.build(names)
        if options.registry:
            binaries.ensure_clients()
            images.push_elsewhere(names, options.registry)


def _existing(path: Path) -> Path:
    if not path.exists():
        raise Failure("local cluster", f"{path} is not there", "start the cluster first")
    return path


def _show_logs(components: Sequence[str], lines: int) -> None:
    for component in components:
        log = processes.log_file(component)
        if log.exists():
            say(f"== {log}")
            say("\n".join(failure.last_lines(log, lines)))


if __name__ == "__main__":
    raise SystemExit(main())
