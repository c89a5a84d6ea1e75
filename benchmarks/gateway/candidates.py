"""What is compared: nothing in front of the engine, nginx, the gateway, and LiteLLM's proxy."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.gateway.engine import ADAPTER
from benchmarks.gateway.load import Client, Failed, Target

from tests.gateway.standins import KEY, gateway_program, stand_ins
from tests.support.ports import free_port
from tunegate.gateway.settings import Limits

NGINX = """\
{user} daemon off; worker_rlimit_nofile 65536; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log;
events {{ worker_connections 32768; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi; keepalive_requests 1000000;
  upstream engine {{ server unix:{socket}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_read_timeout 1h; }}
  }}
}}
"""
LITELLM = """\
model_list:
  - model_name: extract
    litellm_params: {{model: openai/{model}, api_base: "http://127.0.0.1:{port}/v1", api_key: none}}
litellm_settings: {{telemetry: false, num_retries: 0}}
"""
MANY = 1_000_000
ROOMY = Limits(
    places=MANY, sequences=MANY, share=1.0, connections=MANY, connections_each=MANY, reading_bytes=2**40,
    drain_delay=0.1, drain_seconds=1,
)  # fmt: skip
"""Bounds on clients would end the measurement; everything else is as in a pod."""


class Running:
    """The candidates by name, with the process whose memory is that of each."""

    def __init__(self) -> None:
        self.targets: dict[str, Target] = {}
        self.processes: dict[str, int] = {}


@asynccontextmanager
async def program(command: list[str], log: Path, environment: Mapping[str, str] | None = None) -> AsyncIterator[int]:
    """Run a program until the block ends, and give its process id."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
        )
    try:
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def answers(target: Target, seconds: float = 600) -> None:
    """Wait until a candidate answers. Raises ``TimeoutError``."""
    async with asyncio.timeout(seconds):
        while True:
            client = Client(target)
            try:
                await client.open()
                await client.ask()
            except (OSError, Failed, asyncio.IncompleteReadError):
                await asyncio.sleep(0.2)
            else:
                return
            finally:
                client.close()


@asynccontextmanager
async def engine(folder: Path, socket: Path, tokens: int) -> AsyncIterator[int]:
    """Run the instant engine until the block ends, and give its port."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.gateway.engine", str(socket), str(port), str(tokens)]
    async with program(command, folder / "engine.log"):
        await answers(Target(port, ADAPTER))
        yield port


@asynccontextmanager
async def gateway(folder: Path, socket: Path, running: Running) -> AsyncIterator[None]:
    """Run a gateway as in a pod, with a stand-in for the API server."""
    async with stand_ins(folder, ROOMY) as (_, _, settings):
        settings = replace(settings, engine_socket=socket)
        async with gateway_program(settings, folder / "gateway.log") as process:
            running.targets["gateway"] = Target(settings.port, "extract", KEY)
            running.processes["gateway"] = process.pid
            await answers(running.targets["gateway"])
            yield


@asynccontextmanager
async def nginx(folder: Path, socket: Path, running: Running, path: str) -> AsyncIterator[None]:
    """Run nginx with one worker, without buffering, over kept connections to the engine."""
    port = free_port()
    (folder / "nginx.conf").write_text(
        NGINX.format(user="user root;" if os.geteuid() == 0 else "", folder=folder, socket=socket, port=port)
    )
    async with program([path, "-c", str(folder / "nginx.conf"), "-p", str(folder)], folder / "nginx.log") as pid:
        running.targets["nginx"], running.processes["nginx"] = Target(port, ADAPTER), pid
        await answers(running.targets["nginx"])
        yield


@asynccontextmanager
async def litellm(folder: Path, engine_port: int, running: Running, path: str) -> AsyncIterator[None]:
    """Run LiteLLM's proxy with one worker and no database."""
    port = free_port()
    (folder / "litellm.yaml").write_text(LITELLM.format(model=ADAPTER, port=engine_port))
    command = [path, "--config", str(folder / "litellm.yaml"), "--port", str(port), "--host", "127.0.0.1"]
    key = f"sk-{secrets.token_hex(16)}"
    environment = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": "", "LITELLM_LOG": "ERROR", "LITELLM_MASTER_KEY": key
    }  # fmt: skip
    async with program(command, folder / "litellm.log", environment) as pid:
        running.targets["LiteLLM"], running.processes["LiteLLM"] = Target(port, "extract", key), pid
        await answers(running.targets["LiteLLM"])
        yield
