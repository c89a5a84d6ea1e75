"""`tunegate login`, `logout` and `credential` against a real OpenID provider and an API server that takes its tokens."""

from __future__ import annotations

import base64
import json
import os
import signal
import stat
import subprocess
import sys
import time
import webbrowser
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.exchange_site import OWN, rights, running_exchange
from tests.support.openid_site import (
    GROUP,
    PERSON,
    Browser,
    Desk,
    ended,
    page_of,
    running_openid_site,
    running_provider,
)
from tests.support.programs import program
from tests.support.registry_process import running_registry
from tunegate.cli import start
from tunegate.cli.login import credential
from tunegate.cli.login.provider import Tokens
from tunegate.cli.main import main
from tunegate.maintenance.authority import token_pair

Json = dict[str, Any]
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with running_openid_site(tmp_path_factory.mktemp("site")) as running:
        yield running


class Terminal:
    """Runs `tunegate` in this process, on one desk, whose browser signs people in."""

    def __init__(self, desk: Desk, browser: Browser, capsys: pytest.CaptureFixture[str]) -> None:
        self.desk = desk
        self.browser = browser
        self._capsys = capsys

    def run(self, *words: str, code: int = 0) -> str:
        """Run `tunegate` and return what it printed, on either stream."""
        self._capsys.readouterr()
        found = main(list(words))
        printed = self._capsys.readouterr()
        assert found == code, printed.out + printed.err
        return printed.out + printed.err

    def sign_in(self, *words: str) -> str:
        """Sign in by the browser."""
        return self.run("login", *(words or self.desk.site))


@pytest.fixture
def desk(site: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    own = replace(site, home=tmp_path / "home")
    for name in os.environ.keys() - own.environment.keys():
        monkeypatch.delenv(name)
    for name, value in own.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["tunegate"])
    return own


@pytest.fixture
def terminal(desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("BROWSER", "rosa")
    browser = Browser(desk.issuer)
    webbrowser.register("rosa", None, browser, preferred=True)
    return Terminal(desk, browser, capsys)


@pytest.fixture
def signed_in(terminal: Terminal) -> Terminal:
    terminal.sign_in()
    return terminal


def kept(desk: Desk) -> Json:
    (file,) = desk.logins
    return dict(json.loads(file.read_text()))


def change_kept(desk: Desk, **fields: Any) -> None:
    (file,) = desk.logins
    file.write_text(json.dumps({**kept(desk), **fields}))


def old_token(desk: Desk) -> str:
    """Return the person's ID token as if its time were over."""
    return token(desk, exp=1)


def token(desk: Desk, **changed: Any) -> str:
    """Return the ID token that is kept, with other claims; only the API server looks at signatures."""
    told = {**Tokens(kept(desk)["idToken"]).claims, **changed}
    claims = base64.urlsafe_b64encode(json.dumps(told).encode())
    return f"e30.{claims.decode().rstrip('=')}.x"


def test_one_line_signs_a_person_in_for_tunegate_and_for_kubectl(terminal: Terminal) -> None:
    desk = terminal.desk
    said = terminal.sign_in(*desk.site, "-n", "licenses-team")
    assert f"{PERSON} ({GROUP}) is signed in" in said
    assert f"context 127.0.0.1 in {desk.kubeconfig} is the current one" in said
    assert terminal.browser.opened[0] in said
    assert "in namespace licenses-team" in terminal.run("access")
    shown = json.loads(desk.kubectl("auth", "whoami", "-o", "json"))["status"]["userInfo"]
    assert (shown["username"], GROUP in shown["groups"]) == (PERSON, True)
    secrets = [kept(desk)[name] for name in ("idToken", "refreshToken")]
    assert not any(secret in text for secret in secrets for text in (said, desk.kubeconfig.read_text()))


def test_a_person_who_signed_in_reads_the_registry_by_their_right(
    signed_in: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in token_pair("tunegate-operator").files().items():
        (tmp_path / name).write_bytes(content)
    desk, settings = signed_in.desk, tmp_path / "settings.yaml"
    with (
        running_registry(tmp_path / "registry", token_certificate=tmp_path / "tls.crt") as registry,
        running_exchange(tmp_path, desk.plane, registry, {}) as url,
    ):
        told = {"host": registry.host, "plainHTTP": True, "exchange": url.removeprefix("http://")}
        settings.write_text(yaml.safe_dump({"registry": told}))
        monkeypatch.setenv("TUNEGATE_CONFIG", str(settings))
        refused = signed_in.run("data", "list", "-n", OWN, code=1)
        assert f"{PERSON} may not list datasets.tunegate.io in namespace {OWN}" in refused
        give_reading(desk)
        assert "nothing was pushed" in signed_in.run("data", "list", "-n", OWN)


def give_reading(desk: Desk) -> None:
    """Bind the chart's role for evidence to the person's group."""
    role, binding = (
        found for kind in ("ClusterRole", "RoleBinding") for found in rights()
        if found["kind"] == kind and "tunegate-evidence-reader" in found["metadata"]["name"]
    )  # fmt: skip
    bound = {**binding, "subjects": [{**binding["subjects"][0], "name": GROUP}]}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OWN}}
    given = {"apiVersion": "v1", "kind": "List", "items": [space, role, bound]}
    command = [program("kubectl"), "--kubeconfig", desk.plane.kubeconfig("admin"), "apply", "-f", "-"]
    subprocess.run(command, input=json.dumps(given), text=True, check=True, capture_output=True)


def test_only_its_owner_may_read_a_login(signed_in: Terminal) -> None:
    (file,) = signed_in.desk.logins
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(signed_in.desk.kubeconfig.stat().st_mode) == 0o600
    file.chmod(0o644)
    assert f"chmod 600 {file}" in signed_in.run("credential", *signed_in.desk.provider, code=1)


def test_another_device_signs_a_person_in_where_there_is_no_browser(desk: Desk, tmp_path: Path) -> None:
    other = replace(desk, home=tmp_path / "refusing")
    process, refused = desk.start("login", *desk.site), other.start("login", *other.site, "--device")
    desk.issuer.answer_device(page_of(process), "allowed")
    desk.issuer.answer_device(page_of(refused), "denied")
    assert f"{PERSON} ({GROUP}) is signed in" in ended(process)
    assert kept(desk)["refreshToken"]
    assert "refuses: access_denied" in ended(refused, 1)
    assert not other.logins
    assert not other.kubeconfig.exists()


def test_a_token_that_has_run_out_is_renewed_and_the_refresh_token_rotates(signed_in: Terminal) -> None:
    desk, before = signed_in.desk, kept(signed_in.desk)
    ended_token = old_token(desk)
    change_kept(desk, idToken=ended_token)
    assert PERSON in desk.kubectl("auth", "whoami")
    after = kept(desk)
    assert after["idToken"] not in (before["idToken"], ended_token)
    assert after["refreshToken"] != before["refreshToken"]
    assert stat.S_IMODE(desk.logins[0].stat().st_mode) == 0o600


def test_a_renewed_token_of_somebody_else_is_not_used(signed_in: Terminal) -> None:
    change_kept(signed_in.desk, idToken=token(signed_in.desk, exp=1, sub="somebody-else"))
    before = kept(signed_in.desk)
    said = signed_in.run("credential", *signed_in.desk.provider, code=1)
    assert "with the token of somebody else, which is not used: run `tunegate login`" in said
    assert kept(signed_in.desk) == before


def test_programs_that_renew_at_the_same_time_use_each_refresh_token_once(signed_in: Terminal) -> None:
    change_kept(signed_in.desk, idToken=old_token(signed_in.desk))
    words = ["credential", *signed_in.desk.provider]
    running = [signed_in.desk.start(*words) for _ in range(3)]
    tokens = {json.loads(ended(process))["status"]["token"] for process in running}
    assert tokens == {kept(signed_in.desk)["idToken"]}


def test_a_fresh_login_asks_the_person_even_if_the_provider_remembers_them(terminal: Terminal) -> None:
    terminal.sign_in(*terminal.desk.site, "--fresh")
    asked = httpx.URL(terminal.browser.opened[0]).params
    assert (asked["prompt"], asked["max_age"]) == ("login", "0")
    assert Tokens(kept(terminal.desk)["idToken"]).claims["auth_time"] > time.time() - 600


def test_the_credential_is_what_kubectl_reads_and_says_when_it_ends(signed_in: Terminal) -> None:
    answer = json.loads(signed_in.run("credential", *signed_in.desk.provider))
    assert (answer["apiVersion"], answer["kind"]) == ("client.authentication.k8s.io/v1", "ExecCredential")
    assert answer["status"]["token"] == kept(signed_in.desk)["idToken"]
    assert answer["status"]["expirationTimestamp"].endswith("Z")


@pytest.mark.parametrize("refresh", ["ended", None])
def test_a_login_that_cannot_be_renewed_says_what_to_do(signed_in: Terminal, refresh: str | None) -> None:
    change_kept(signed_in.desk, idToken=old_token(signed_in.desk), refreshToken=refresh)
    assert "un `tunegate login`" in signed_in.run("credential", *signed_in.desk.provider, code=1)
    assert f"{PERSON} ({GROUP}) is signed in" in signed_in.run("login")
    assert PERSON in signed_in.run("access")


def test_logout_ends_the_login_at_the_provider_too(signed_in: Terminal) -> None:
    desk, before = signed_in.desk, kept(signed_in.desk)
    assert f"signed out of {desk.issuer.url}\n" == signed_in.run("logout")
    assert not desk.logins
    assert "failed: exit status 1" in signed_in.run("access", code=1)
    assert f"you are not signed in at {desk.issuer.url}: run `tunegate login`" in desk.kubectl("get", "pods", code=1)
    assert "you were not signed in" in signed_in.run("logout")
    with desk.issuer.browser() as thief:
        form = {"grant_type": "refresh_token", "refresh_token": before["refreshToken"], "client_id": "tunegate"}
        assert thief.post(f"{desk.issuer.url}/oauth/token", data=form).status_code == 400


def changed(words: list[str], option: str, value: str) -> list[str]:
    """Return a command with another value of an option."""
    at = words.index(option) + 1
    return [*words[:at], value, *words[at + 1 :]]


@pytest.mark.parametrize(
    ("option", "value", "code", "says"),
    [
        ("--issuer", "https://127.0.0.1:{port}", 1, "its certificate is for localhost, and 127.0.0.1 is not among them"),
        ("--issuer", "https://localhost:{port}/", 1, "calls itself https://localhost:{port}: give --issuer as it calls itself"),
        ("--issuer", "https://localhost:{port}/oauth", 1, "is no OpenID provider"),
        ("--issuer", "http://localhost:{port}", 2, "an OpenID provider's address begins with https://"),
        ("--issuer-ca", "{other}", 1, "that this machine does not trust: give --issuer-ca FILE, its authority"),
        ("--issuer-ca", "/no/such/file", 2, "--issuer-ca /no/such/file cannot be read"),
        ("--issuer-ca", "{config}", 2, "--issuer-ca is no PEM certificate"),
        ("--ca", "{issuer}", 1, "has a certificate of another authority: give --ca FILE"),
        ("--ca", "/no/such/file", 2, "--ca /no/such/file cannot be read"),
        ("--server", "https://127.0.0.1:1", 1, "the API server at https://127.0.0.1:1 does not answer"),
        ("--server", "api.example:6443", 2, "the address of an API server begins with https://"),
        ("--client-id", "unknown", 1, "refuses: server_error (client not found)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_before_anything_is_kept(
    terminal: Terminal, option: str, value: str, code: int, says: str
) -> None:
    desk = terminal.desk
    places = {"port": desk.issuer.url.rpartition(":")[2], "other": desk.authority, "issuer": desk.issuer.authority}
    places["config"] = desk.plane.kubeconfig("admin")
    said = terminal.run("login", *changed(desk.site, option, value.format(**places)), "--device", code=code)
    assert says.format(**places) in said
    assert not desk.logins
    assert not desk.kubeconfig.exists()


def test_tokens_that_the_api_server_does_not_take_are_not_kept(terminal: Terminal, tmp_path: Path) -> None:
    with running_provider(tmp_path) as other:
        stranger = replace(terminal.desk, issuer=other)
        webbrowser.register("rosa", None, Browser(other), preferred=True)
        said = terminal.run("login", *stranger.site, code=1)
    assert "does not take its token (Unauthorized)" in said
    assert "--oidc-issuer-url" in said
    assert not stranger.logins
    assert not stranger.kubeconfig.exists()
    assert f"the OpenID provider {other.url} does not answer" in terminal.run("login", *stranger.site, code=1)


def test_answers_of_anyone_but_the_provider_end_no_login(desk: Desk) -> None:
    process = desk.start("login", *desk.site, "--no-browser")
    page = httpx.URL(page_of(process))
    back, state = page.params["redirect_uri"], page.params["state"]
    assert page.params["code_challenge_method"] == "S256"
    for query in (
        {"code": "stolen"},
        {"code": "stolen", "state": "guessed"},
        {"state": state},
        {"error": "x", "state": ""},
    ):
        assert httpx.get(back, params=query, trust_env=False).status_code == 404
    assert "signed in" in desk.issuer.sign_in(str(page)).text
    assert "is signed in" in ended(process)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"error": "access_denied", "error_description": "<b>no</b>"}, "refuses: access_denied (<b>no</b>)"),
        ({"code": "abc", "iss": "https://other.example"}, "the answer came from https://other.example"),
        ({"code": "abc"}, "refuses: invalid_grant"),
    ],
)
def test_a_refusal_in_the_browser_ends_the_login(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, query: dict[str, str], says: str
) -> None:
    answers: list[str] = []

    def refused(page: str) -> None:
        told = httpx.URL(page).params
        back = httpx.get(told["redirect_uri"], params={**query, "state": told["state"]}, trust_env=False)
        answers.append(back.text)

    browser = Browser(terminal.desk.issuer, refused)
    webbrowser.register("rosa", None, browser, preferred=True)
    assert says in terminal.run("login", *terminal.desk.site, code=1)
    assert not terminal.desk.logins
    browser.wait()
    assert "<b>" not in answers[0]


@pytest.mark.parametrize("how", ["--no-browser", "--device"])
def test_ctrl_c_ends_a_login_that_waits_and_nothing_is_written(desk: Desk, how: str) -> None:
    process = desk.start("login", *desk.site, how)
    page_of(process)
    process.send_signal(signal.SIGINT)
    ended(process, 130)
    assert not desk.logins
    assert not desk.kubeconfig.exists()


def test_other_contexts_stay_and_one_of_the_same_name_is_not_overwritten(terminal: Terminal) -> None:
    desk, other = terminal.desk, {"name": "prod", "context": {"cluster": "prod", "user": "prod"}}
    prod = {"name": "prod", "cluster": {"server": "https://prod.example"}}
    document = {
        "apiVersion": "v1", "kind": "Config", "current-context": "prod", "preferences": {"colors": True},
        "clusters": [prod], "users": [{"name": "prod", "user": {"token": "abc"}}], "contexts": [other],
    }  # fmt: skip
    desk.kubeconfig.parent.mkdir(parents=True)
    desk.kubeconfig.write_text(yaml.safe_dump(document))
    said = terminal.run("login", *desk.site, "--context", "prod", code=1)
    assert "has a cluster prod of another kind, which is left alone: give --context with another name" in said
    assert not terminal.browser.opened
    assert yaml.safe_load(desk.kubeconfig.read_text()) == document
    terminal.sign_in(*desk.site, "--context", "here")
    terminal.sign_in(*desk.site, "--context", "here", "-n", "licenses-team")
    written = yaml.safe_load(desk.kubeconfig.read_text())
    assert [entry["name"] for entry in written["contexts"]] == ["prod", "here"]
    assert written["contexts"][0] == other
    assert written["contexts"][1]["context"]["namespace"] == "licenses-team"
    assert (written["current-context"], written["preferences"]) == ("here", {"colors": True})


def test_the_command_that_kubectl_runs_loads_nothing_but_itself(desk: Desk) -> None:
    assert start.CREDENTIAL == credential.NAME
    program = "import sys; from tunegate.cli.start import main; main(); print('tunegate.cli.main' in sys.modules)"
    words = [sys.executable, "-c", program, "credential", *desk.provider]
    done = subprocess.run(words, env=desk.environment, capture_output=True, text=True, check=False)
    assert (done.stdout, "you are not signed in" in done.stderr) == ("False\n", True)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["login"], 1, "no usable kubeconfig"),
        (["login", "--server", "https://x"], 2, "give --issuer and --client-id too"),
        (["login", "--issuer", "https://x"], 2, "go with --server"),
        (["login", "--scope", "groups"], 2, "go with --server"),
        (["login", "--issuer-ca", "x"], 2, "go with --server"),
        (["login", "--issuer-ca-data", "x"], 2, "go with --server"),
        (["login", "--ca", "x"], 2, "go with --server"),
        (["logout", "--issuer", "https://x"], 2, "give --issuer and --client-id together"),
        (["logout", "--scope", "groups"], 2, "give --issuer and --client-id together"),
        (["login", "--as", "x"], 2, "leave out --as"),
        (["login", "--fresh", "--device"], 2, "--fresh needs a browser"),
        (["credential", "--issuer", "https://x", "--client-id", "y"], 1, "you are not signed in at https://x: run `tunegate login`"),
    ],
)  # fmt: skip
def test_wrong_usage_is_said_before_anything_is_asked(
    terminal: Terminal, words: list[str], code: int, says: str
) -> None:
    assert says in terminal.run(*words, code=code)


def test_a_kubeconfig_of_another_program_is_not_signed_in_by_this_one(terminal: Terminal) -> None:
    terminal.desk.kubeconfig.parent.mkdir(parents=True)
    terminal.desk.kubeconfig.write_bytes(Path(terminal.desk.plane.kubeconfig("admin")).read_bytes())
    for command, wanted in (("login", "--server, --issuer"), ("logout", "--issuer")):
        assert f"your kubeconfig does not sign in by this program: give {wanted}" in terminal.run(command, code=1)


def test_a_port_that_is_taken_is_named(terminal: Terminal) -> None:
    port = terminal.desk.issuer.url.rpartition(":")[2]
    words = ["login", *terminal.desk.site, "--redirect-port", port]
    assert f"--redirect-port {port} cannot be used" in terminal.run(*words, code=2)


def test_the_platform_teams_kubeconfig_is_all_that_a_person_needs(
    signed_in: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed = tmp_path / "site.yaml"
    assert str(signed_in.desk.issuer.authority.parent) not in signed_in.desk.kubeconfig.read_text()
    handed.write_text(signed_in.desk.kubeconfig.read_text())
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other"))
    monkeypatch.setenv("KUBECONFIG", str(handed))
    assert "failed: exit status 1" in signed_in.run("access", code=1)
    signed_in.run("login")
    assert handed.read_text() == signed_in.desk.kubeconfig.read_text()
    assert PERSON in signed_in.run("access")
