"""Compare the gateway with nothing, nginx and LiteLLM in front of one and the same engine. See README.md for the command.

All candidates run at the same time and are measured in turns, so that whatever else the machine does hits all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from benchmarks.gateway.candidates import Running, engine, gateway, litellm, nginx
from benchmarks.gateway.engine import HOLD
from benchmarks.gateway.load import Failed, Target, hold, latencies, per_second, tokens_per_second

TOKENS, STREAMS = 256, 16
SLOW = {"LiteLLM"}
"""Candidates that get fewer requests in a turn, so that a run ends within minutes."""
MILLISECONDS = 1000


def resident_kilobytes(pid: int) -> int:
    """Return the memory of a process and of those that it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(own.split()[1]) + sum(resident_kilobytes(int(child)) for child in children)


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process and of those that it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(processor_seconds(int(child)) for child in children)


async def measure(running: Running, rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """Return the numbers of each candidate: medians over the rounds, quantiles over all their requests."""
    times: dict[str, list[float]] = defaultdict(list)
    tokens: dict[str, list[float]] = defaultdict(list)
    requests: dict[str, list[float]] = defaultdict(list)
    work: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0, 0.0])
    """Processor seconds and number of requests, then of tokens: what a loaded machine changes least."""
    for number in range(rounds):
        for name, target in running.targets.items():
            slow = name in SLOW
            pid = running.processes.get(name)
            used = [processor_seconds(pid)] if pid else []
            times[name] += await latencies(target, 25 if slow else 250)
            used += [processor_seconds(pid)] if pid else []
            tokens[name].append(await tokens_per_second(target, STREAMS, 1 if slow else 4))
            if pid:
                used.append(processor_seconds(pid))
                more = (
                    used[1] - used[0],
                    26 if slow else 251,
                    used[2] - used[1],
                    (TOKENS + 1) * STREAMS * (1 if slow else 4),
                )
                work[name] = [old + new for old, new in zip(work[name], more, strict=True)]
            requests[name].append(await per_second(target, 32, seconds))
        print(f"round {number + 1} of {rounds}, load {os.getloadavg()[0]:.1f}", flush=True)
    found = {}
    for name in running.targets:
        quantiles = statistics.quantiles(times[name], n=100)
        found[name] = {
            "p50_ms": quantiles[49] * MILLISECONDS,
            "p99_ms": quantiles[98] * MILLISECONDS,
            "tokens_per_s": statistics.median(tokens[name]),
            "requests_per_s": statistics.median(requests[name]),
            "processor_ms_per_request": work[name][0] / max(work[name][1], 1) * MILLISECONDS,
            "processor_us_per_token": work[name][2] / max(work[name][3], 1) * MILLISECONDS**2,
        }
    return found


async def idle(running: Running, streams: int) -> dict[str, dict[str, float]]:
    """Return what idle streams take: kilobytes of each, and how much more it is after a while."""
    found = {}
    for name, pid in running.processes.items():
        if name in SLOW:
            continue
        before = resident_kilobytes(pid)
        try:
            clients = await hold(running.targets[name], streams, HOLD.decode())
        except (Failed, OSError, asyncio.IncompleteReadError) as error:
            print(f"{name} could not hold {streams} streams: {type(error).__name__}")
            continue
        held = resident_kilobytes(pid)
        await asyncio.sleep(10)
        later = resident_kilobytes(pid)
        for client in clients:
            client.close()
        await asyncio.sleep(2)
        found[name] = {
            "before_mb": before / 1024, "held_mb": held / 1024, "after_10_s_mb": later / 1024,
            "kb_each": (held - before) / streams, "left_mb": resident_kilobytes(pid) / 1024,
        }  # fmt: skip
    return found


def table(found: dict[str, dict[str, float]]) -> str:
    """Return the numbers as Markdown, with what each is of direct and of LiteLLM."""
    direct, proxy = found["direct"], found.get("LiteLLM")
    lines = [
        "| | p50 ms | p99 ms | streamed tokens/s | of direct | times LiteLLM | requests/s, 32 clients | processor ms a request | µs a token |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, numbers in found.items():
        more = [numbers[key] - direct[key] for key in ("p50_ms", "p99_ms")]
        times = f"{numbers['tokens_per_s'] / proxy['tokens_per_s']:.1f}" if proxy else "-"
        lines.append(
            f"| {name} | {numbers['p50_ms']:.2f} ({more[0]:+.2f}) | {numbers['p99_ms']:.2f} ({more[1]:+.2f}) | "
            f"{numbers['tokens_per_s']:,.0f} | {numbers['tokens_per_s'] / direct['tokens_per_s']:.2f} | {times} | "
            f"{numbers['requests_per_s']:,.0f} | {numbers['processor_ms_per_request']:.2f} | "
            f"{numbers['processor_us_per_token']:.1f} |"
        )
    return "\n".join(lines)


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Start everything, measure, print tables and return their numbers."""
    with tempfile.TemporaryDirectory() as name:
        folder, running = Path(name), Running()
        async with AsyncExitStack() as stack:
            if options.engine_port:
                socket, port = Path(options.engine_socket), options.engine_port
            else:
                socket = folder / "instant.sock"
                port = await stack.enter_async_context(engine(folder, socket, TOKENS))
            running.targets["direct"] = Target(port, options.adapter)
            if options.nginx:
                await stack.enter_async_context(nginx(folder, socket, running, options.nginx))
            (folder / "gateway").mkdir()
            await stack.enter_async_context(gateway(folder / "gateway", socket, running))
            if options.litellm:
                await stack.enter_async_context(litellm(folder, port, running, options.litellm))
            begun = time.monotonic()
            found = await measure(running, options.rounds, options.seconds)
            print(table(found))
            print(f"load at the end {os.getloadavg()}, {os.cpu_count()} cores", flush=True)
            held = await idle(running, options.idle) if options.idle else {}
            for which, numbers in held.items():
                print(which, {key: round(value, 1) for key, value in numbers.items()})
            print(f"{time.monotonic() - begun:.0f} s, load at the end {os.getloadavg()}, {os.cpu_count()} cores")
        return {"speed": found, "idle": held}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of whole answers for 32 clients")
    parser.add_argument("--nginx", default=shutil.which("nginx"), help="path of the program; absent: left out")
    parser.add_argument("--litellm", default=shutil.which("litellm"), help="path of the program; absent: left out")
    parser.add_argument("--idle", type=int, default=10_000, help="streams that are held; 0: none")
    parser.add_argument("--engine-socket", help="of a running vLLM, instead of the instant engine")
    parser.add_argument("--engine-port", type=int, help="of the same vLLM")
    parser.add_argument("--adapter", default="good-00000001", help="what the engine calls the adapter")
    parser.add_argument("--output", help="a file for the numbers, as JSON")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # An idle stream takes two of the gateway, and one here.
    options = parser.parse_args()
    found = asyncio.run(run(options))
    if options.output:
        Path(options.output).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
