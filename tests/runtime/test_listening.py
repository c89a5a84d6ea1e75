"""What has to be reached from outside a pod listens on IPv4 and on IPv6."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from tests.support.ports import free_port
from tunegate.listening import listening_socket
from tunegate.runtime.health import Health
from tunegate.runtime.health import serve as serve_health
from tunegate_trainer.progress import ProgressBoard
from tunegate_trainer.progress import serve as serve_progress

HOSTS = ("127.0.0.1", "[::1]")
WITHOUT_IPV6 = """
import ctypes, fcntl, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x10000000 | 0x40000000):  # a network of its own, and the right to change it
    sys.exit(77)
try:
    open("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w").write("1")
    open("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "w").write("1")
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
except OSError:
    sys.exit(77)
from tunegate.listening import listening_socket
listening = listening_socket(0)
socket.create_connection(("127.0.0.1", listening.getsockname()[1]), 5)
print("answered")
"""


@pytest.mark.parametrize("host", HOSTS)
def test_the_operators_endpoints_answer_on_both_families(host: str) -> None:
    server = serve_health(Health(), CollectorRegistry(), 0)
    assert httpx.get(f"http://{host}:{server.server_address[1]}/healthz", trust_env=False).text == "ok\n"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("host", HOSTS)
def test_a_stages_progress_answers_on_both_families(host: str) -> None:
    server = serve_progress(ProgressBoard("train"), 0)
    answer = httpx.get(f"http://{host}:{server.server_address[1]}/progress", trust_env=False)
    assert answer.json()["stage"] == "train"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_one_address_means_no_other(address: str) -> None:
    with listening_socket(0, address) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection((address, port), 5):
            pass
        other = {"127.0.0.1": "::1", "::1": "127.0.0.1"}[address]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((other, port), 5)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_port_that_is_taken_on_one_family_is_taken(family: socket.AddressFamily) -> None:
    port = free_port()
    with socket.create_server(("", port), family=family), pytest.raises(OSError) as caught:
        listening_socket(port)
    assert caught.value.errno == errno.EADDRINUSE


def test_where_ipv6_is_switched_off_ipv4_is_enough(request: pytest.FixtureRequest) -> None:
    root = Path(request.config.rootpath)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_IPV6], capture_output=True, text=True, env={"PYTHONPATH": str(root / "operator")}
    )
    if done.returncode == 77:
        pytest.skip("this machine gives no network of one's own to switch IPv6 off in")
    assert (done.stdout, done.stderr) == ("answered\n", "")
