"""`tunegate mlflow` on this machine: nobody else opens it, nothing but MLflow lies behind it, and MLflow's answers come as they are."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.support.exchange_double import Double, running_double
from tunegate.cli.exchange import Exchange
from tunegate.cli.failure import CommandFailure
from tunegate.cli.login.browser import _Returns
from tunegate.cli.loopback import LoopbackServer
from tunegate.cli.mlflow.window import Window

ELSEWHERE = [
    "/../token?service=tunegate-registry", "/a/../../token", "/./version", "/%2e%2e/token", "/.%2E/token", "/..%2ftoken",
    "/%252e%252e/token", "/..\\token", "/a/..%5c..%5ctoken", "/a//token", "/a%2f/token", "/a/%2f%2ftoken", "/a%0d/token", "token",
]  # fmt: skip


@pytest.fixture
def double() -> Iterator[Double]:
    with running_double() as running:
        yield running


@pytest.fixture
def window(double: Double) -> Iterator[Window]:
    with closing(Exchange(double.address())) as door:
        server = Window(0, door)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        server.server_close()


def cookie(window: Window) -> str:
    return f"{window.cookie}={window.opening}"


def asked(window: Window, target: str, cookies: str) -> tuple[int, str]:
    """Send a request as it stands, which no client would, and return status and body."""
    with socket.create_connection(("127.0.0.1", window.server_port), timeout=30) as connection:
        head = f"GET {target} HTTP/1.1\r\nHost: {window.hosts[0]}\r\nCookie: {cookies}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        said = b""
        while piece := connection.recv(65536):
            said += piece
    return int(said.split()[1]), said.partition(b"\r\n\r\n")[2].decode()


@pytest.mark.attack(80)
@pytest.mark.parametrize("target", ELSEWHERE)
def test_no_path_leads_out_of_mlflow(window: Window, double: Double, target: str) -> None:
    status, text = asked(window, target, cookie(window))
    assert (status, text) == (400, "this path is not one of MLflow's\n")
    assert double.asked == []


@pytest.mark.parametrize(
    "target", ["/", "/static-files/static/js/main.1.js", "/get-artifact?path=a/../b//c", "/x%20y/a..b/.c"]
)
def test_other_paths_come_to_mlflow_as_the_browser_wrote_them(window: Window, double: Double, target: str) -> None:
    assert asked(window, target, cookie(window))[0] == 200
    assert double.paths == [f"/mlflow{target}"]


@pytest.mark.attack(80)
@pytest.mark.parametrize("path", ["../token", "a/../../token", "%2e%2e/token", "%252e%252e/token", "..%5ctoken", ".."])
def test_the_exchanges_client_sends_no_such_path_either(double: Double, path: str) -> None:
    with closing(Exchange(double.address())) as door, pytest.raises(CommandFailure, match="not one of MLflow's"):
        door.mlflow("GET", path)
    assert double.asked == []


def test_the_key_opens_one_browser_once_and_is_not_what_the_browser_keeps(window: Window, double: Double) -> None:
    address = f"{window.address}/?key={window.key}"
    assert httpx.head(address, trust_env=False).status_code == 403, "it shows no page"
    with httpx.Client(base_url=window.address, trust_env=False) as browser:
        page = browser.get(address)
        assert page.status_code == 200, "a redirect would lose the cookie on the way from a file"
        assert "location.replace('/' + location.hash)" in page.text
        assert window.key not in page.headers["Set-Cookie"]
        assert "SameSite=Strict" in page.headers["Set-Cookie"]
        assert "MLflow" in browser.get("/").text
        assert browser.get(address).text == page.text, "the same browser may go back"
    again = httpx.get(address, trust_env=False)
    assert again.status_code == 403
    assert "it opens one browser once" in again.text
    assert asked(window, "/", f"{window.cookie}={window.key}")[0] == 403
    assert double.paths == ["/mlflow/"], "and the exchange never sees the key"


@pytest.mark.attack(80)
def test_of_many_that_use_the_key_at_once_one_gets_in(window: Window) -> None:
    with ThreadPoolExecutor(8) as people:
        assert sorted(people.map(window.use, [window.key] * 8)) == [False] * 7 + [True]


@pytest.mark.parametrize(
    "others",
    ['a="b; {own}', "{{}}; {own}", "a b=c; {own}", "=; ;; {own}", 'x={{"a": "b"}}; {own}', "{own}; \N{SNOWMAN}=1", "{name}=wrong; {own}"],
)  # fmt: skip
def test_cookies_of_other_servers_lock_nobody_out(window: Window, others: str) -> None:
    cookies = others.format(own=cookie(window), name=window.cookie)
    assert asked(window, "/", cookies)[0] == 200


def test_what_mlflow_answers_comes_as_it_is_and_is_asked_for_once(window: Window, double: Double) -> None:
    denied = b'{"error_code": "PERMISSION_DENIED", "message": "Permission denied"}'
    double.answers = {
        "/mlflow/broken": (500, "application/json", b'{"error_code": "INTERNAL_ERROR"}'),
        "/mlflow/away": (503, "application/json", b'{"error": {"message": "MLflow does not answer now; try again"}}'),
        "/mlflow/denied": (403, "application/json", denied),
        "/mlflow/refused": (403, "application/json", b'{"error": {"message": "ravi may not get runs"}}'),
    }
    assert asked(window, "/broken", cookie(window)) == (500, '{"error_code": "INTERNAL_ERROR"}')
    assert asked(window, "/away", cookie(window))[0] == 503
    assert asked(window, "/denied", cookie(window)) == (403, denied.decode())
    assert asked(window, "/refused", cookie(window)) == (403, "ravi may not get runs\n")
    assert double.paths == ["/mlflow/broken", "/mlflow/away", "/mlflow/denied", "/mlflow/refused"]


def test_a_token_is_made_once_for_all_threads_and_renewed_once(double: Double) -> None:
    made: list[str] = []

    def plugin() -> str:
        time.sleep(0.2)  # Others come meanwhile.
        made.append(f"token-{len(made)}")
        return made[-1]

    with closing(Exchange(double.address(plugin))) as door, ThreadPoolExecutor(6) as threads:

        def ask(_: int) -> int:
            return door.mlflow("GET", "version").status_code

        assert list(threads.map(ask, range(6))) == [200] * 6
        assert made == ["token-0"]
        double.taken = {"token-1"}
        assert list(threads.map(ask, range(6))) == [200] * 6
        assert made == ["token-0", "token-1"]


def window_of(double: Double) -> LoopbackServer:
    return Window(0, Exchange(double.address()))


def returns_of(double: Double) -> LoopbackServer:
    return _Returns(0, "state", f"https://{double.host}")


@pytest.mark.parametrize("server_of", [window_of, returns_of])
def test_a_browser_that_goes_away_is_not_told_of_on_the_terminal(
    double: Double, server_of: Callable[[Double], LoopbackServer], capfd: pytest.CaptureFixture[str]
) -> None:
    server = server_of(double)
    server.daemon_threads = False  # Closing then waits for the request's thread.
    connection = socket.create_connection(("127.0.0.1", server.server_port))
    connection.sendall(b"GET / HT")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    server.handle_request()
    server.server_close()
    assert capfd.readouterr().err == ""


BROWSER = """#!{python}
import json, os, pathlib, sys
page = pathlib.Path(sys.argv[-1].removeprefix("file://"))
modes = [oct(os.stat(place).st_mode & 0o777) for place in (page.parent, page)]
words = pathlib.Path("/proc/self/cmdline").read_text()
said = json.dumps({{"words": words, "modes": modes, "page": str(page), "text": page.read_text()}})
pathlib.Path({result!r}).with_suffix(".new").write_text(said)
pathlib.Path({result!r}).with_suffix(".new").rename({result!r})
"""


@pytest.mark.attack(80)
def test_the_browser_gets_the_address_by_a_file_that_nobody_else_can_read(double: Double, tmp_path: Path) -> None:
    result, browser, token = tmp_path / "result.json", tmp_path / "browser", tmp_path / "token"
    browser.write_text(BROWSER.format(python=sys.executable, result=str(result)))
    browser.chmod(0o755)
    token.write_text("a-token")
    config = tmp_path / "config"
    config.write_text(json.dumps({
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}], "users": [{"name": "u", "user": {"token": "x"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "current-context": "c",
    }))  # fmt: skip
    environment = {
        **os.environ, "KUBECONFIG": str(config), "BROWSER": str(browser), "HOME": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[2] / "operator"),
    }  # fmt: skip
    command = [sys.executable, "-m", "tunegate.cli", "mlflow", "--registry-plain-http", "--exchange", double.host]
    process = subprocess.Popen(
        [*command, "--token-file", str(token)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        key = address.partition("key=")[2].partition("#")[0]
        assert re.fullmatch(r"[\w-]{32}", key)
        while not result.exists():
            assert process.poll() is None
            time.sleep(0.05)
        seen = json.loads(result.read_text())
        assert key not in seen["words"]
        assert seen["modes"][0] == "0o700"
        assert f'location.replace("{address}")' in seen["text"]
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 0, told
        assert not Path(seen["page"]).parent.exists()
    finally:
        process.kill()
