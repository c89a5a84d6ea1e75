"""An OpenID provider, an API server that takes its tokens, and people with browsers: all real, on loopback."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import ssl
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from tests.support.certificates import write_localhost_certificate
from tests.support.control_plane import ROOT, ControlPlane, Member, running_control_plane
from tests.support.ports import free_port, running_server
from tests.support.programs import program
from tunegate_local import binaries

CLIENT = "tunegate"
PERSON, GROUP = "rosa", "model-risk"
ADMIN = Member("admin", "admin", ("system:masters",))
EXCHANGE = Member("exchange", "exchange", ("system:masters",))


@dataclass(frozen=True)
class Issuer:
    """A provider that runs."""

    url: str
    authority: Path
    password: str

    def browser(self) -> httpx.Client:
        """Return a browser that trusts the provider, and keeps its cookies."""
        trust = ssl.create_default_context(cafile=str(self.authority))
        return httpx.Client(verify=trust, timeout=20.0, trust_env=False, follow_redirects=True)

    def sign_in(self, page: str, *, password: str | None = None) -> httpx.Response:
        """Open the page that somebody was shown, sign in there, and return where the browser ends."""
        with self.browser() as browser:
            form = browser.get(page).raise_for_status()
            found = re.search(r'name="id" value="([^"]+)"', form.text)
            assert found, form.text
            typed = {"id": found[1], "username": PERSON, "password": password or self.password}
            return browser.post(str(form.url.copy_with(path="/login/username", query=None)), data=typed)

    def answer_device(self, page: str, action: str) -> httpx.Response:
        """Open the page for another device, sign in, and let it in (`allowed`) or not (`denied`)."""
        with self.browser() as browser:
            browser.get(page).raise_for_status()
            code = httpx.URL(page).params["user_code"]
            typed = {"user_code": code, "username": PERSON, "password": self.password}
            browser.post(f"{self.url}/device/login", data=typed).raise_for_status()
            return browser.get(f"{self.url}/device/confirm", params={"action": action}).raise_for_status()


@dataclass(frozen=True)
class Desk:
    """The machine of somebody who signs in: home, settings and kubeconfig of its own."""

    home: Path
    plane: ControlPlane
    issuer: Issuer

    @property
    def kubeconfig(self) -> Path:
        return self.home / "kube/config"

    @property
    def server(self) -> str:
        return str(json.loads(Path(self.plane.kubeconfig("admin")).read_text())["clusters"][0]["cluster"]["server"])

    @property
    def authority(self) -> Path:
        return self.plane.folder / "tls/apiserver.crt"

    @property
    def logins(self) -> list[Path]:
        return sorted((self.home / "config/tunegate/logins").glob("*.json"))

    @property
    def site(self) -> list[str]:
        """What the platform team tells: one line."""
        return ["--server", self.server, "--ca", str(self.authority), *self.provider]

    @property
    def provider(self) -> list[str]:
        return ["--issuer", self.issuer.url, "--client-id", CLIENT, "--issuer-ca", str(self.issuer.authority)]

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "TUNEGATE_CONFIG"):
            kept.pop(name, None)
        return {
            **kept, "HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config"), "KUBECONFIG": str(self.kubeconfig),
            "PYTHONPATH": str(ROOT / "operator"),
        }  # fmt: skip

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Start `tunegate`."""
        command = [sys.executable, "-m", "tunegate.cli", *words]
        return subprocess.Popen(
            command, env={**self.environment, **environment}, text=True, stdin=subprocess.DEVNULL, cwd="/",
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            # A shell's background jobs ignore the signal, and so would this program.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    def run(self, *words: str, code: int = 0, **environment: str) -> str:
        """Run `tunegate` and return what it printed, on either stream."""
        process = self.start(*words, **environment)
        out, told = process.communicate(timeout=100)
        assert process.returncode == code, out + told
        return out + told

    def kubectl(self, *words: str, code: int = 0) -> str:
        """Run kubectl with the same kubeconfig."""
        done = subprocess.run(
            [program("kubectl"), *words], env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


class Browser(webbrowser.BaseBrowser):
    """What `webbrowser` opens on this desk: somebody signs in there."""

    def __init__(self, issuer: Issuer, acts: Callable[[str], object] | None = None) -> None:
        """``acts``: what the person does with the address, instead of signing in."""
        super().__init__("rosa")
        self._acts = acts or issuer.sign_in
        self._acting: list[threading.Thread] = []
        self.opened: list[str] = []

    def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:
        """Act beside the program that waits for it."""
        self.opened.append(url)
        self._acting.append(threading.Thread(target=self._acts, args=(url,), daemon=True))
        self._acting[-1].start()
        return True

    def wait(self) -> None:
        """Wait until the person has seen the last page."""
        for thread in self._acting:
            thread.join(20)


def page_of(process: subprocess.Popen[str]) -> str:
    """Return the first address that a login prints."""
    assert process.stderr
    said = ""
    for line in process.stderr:
        said += line
        if found := re.search(r"(?:Sign in at|or open) (https://\S+)", line):
            return found[1]
    raise AssertionError(said)


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    """Return what a login printed once it has ended."""
    out, told = process.communicate(timeout=100)
    assert process.returncode == code, out + told
    return out + told


@contextmanager
def running_provider(folder: Path) -> Iterator[Issuer]:
    """Start a provider with one person."""
    certificate, key = write_localhost_certificate(folder)
    port, password = free_port(), secrets.token_urlsafe(16)
    people = [{"username": PERSON, "password": password, "employeeId": "E-1", "groups": [GROUP]}]
    (folder / "people.json").write_text(json.dumps(people))
    command = [
        binaries.ensure_issuer(), f"--address=localhost:{port}", f"--client={CLIENT}", f"--people={folder / 'people.json'}",
        f"--certificate={certificate}", f"--key={key}",
    ]  # fmt: skip
    with running_server(list(map(str, command)), "localhost", port, folder / "issuer.log"):
        yield Issuer(f"https://localhost:{port}", certificate, password)


@contextmanager
def running_openid_site(folder: Path) -> Iterator[Desk]:
    """Start both, and return a desk once the API server has found the provider's keys."""
    (folder / "issuer").mkdir()
    (folder / "plane").mkdir()
    with running_provider(folder / "issuer") as issuer:
        options = (
            f"--oidc-issuer-url={issuer.url}", f"--oidc-client-id={CLIENT}", f"--oidc-ca-file={issuer.authority}",
            "--oidc-username-claim=preferred_username", "--oidc-username-prefix=-", "--oidc-groups-claim=groups",
        )  # fmt: skip
        with running_control_plane(folder / "plane", [ADMIN, EXCHANGE], *options) as plane:
            desk = Desk(folder / "first", plane, issuer)
            deadline = time.monotonic() + 60
            while True:
                process = desk.start("login", *desk.site, "--no-browser")
                issuer.sign_in(page_of(process))
                out, told = process.communicate(timeout=100)
                if process.returncode == 0:
                    break
                assert time.monotonic() < deadline, out + told
            yield desk
