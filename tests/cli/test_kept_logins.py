"""Where logins, kubeconfigs and pushed data are written, and what is used of a login while its provider does not answer. Without a server."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest
import yaml

from tests.support.ports import free_port
from tunegate.cli.failure import CommandFailure, Unreachable
from tunegate.cli.login import context, credential, kept
from tunegate.cli.login.provider import Client, Tokens
from tunegate.cli.plan.pushed_data import cache_folder

CLIENT = Client("https://login.example", "tunegate")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("TUNEGATE_CONFIG", raising=False)
    return tmp_path / "home"


def token(seconds: float) -> str:
    """Return an ID token that ends in so many seconds."""
    claims = json.dumps({"sub": "1", "exp": time.time() + seconds}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.x"


def test_settings_that_lie_elsewhere_move_no_login(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = home / ".config/tunegate/logins"
    assert kept.folder() == own
    monkeypatch.setenv("TUNEGATE_CONFIG", str(tmp_path / "checkout/tunegate.yaml"))
    assert kept.folder() == own
    assert not (tmp_path / "checkout").exists()
    monkeypatch.setenv("XDG_CONFIG_HOME", "checkout")  # a relative path is none, by the specification
    assert kept.folder() == own
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert kept.folder() == tmp_path / "xdg/tunegate/logins"


def test_pushed_data_is_not_kept_in_a_folder_relative_to_where_plan_runs(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "checkout")
    assert cache_folder() == home / ".cache/tunegate/pushed"


def test_a_folder_that_holds_no_lock_is_named() -> None:
    kept.file(CLIENT).with_suffix(".lock").mkdir()
    with pytest.raises(CommandFailure, match=r"\.lock cannot be locked: Is a directory"), kept.locked(CLIENT):
        pass


def test_a_login_that_cannot_be_deleted_is_named() -> None:
    kept.file(CLIENT).mkdir()
    with pytest.raises(CommandFailure, match="which holds your login, cannot be deleted"):
        kept.remove(CLIENT)


def test_a_link_to_the_kubeconfig_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    dotfiles, place = tmp_path / "dotfiles/kubeconfig", tmp_path / "kube/config"
    for file in (dotfiles, place):
        file.parent.mkdir()
    dotfiles.write_text(yaml.safe_dump({"preferences": {"colors": True}}))
    place.symlink_to(Path("../dotfiles/kubeconfig"))
    context.write(place, context.document("here", {"server": "https://api.example"}, {"token": "abc"}, None))
    assert place.is_symlink()
    written = yaml.safe_load(dotfiles.read_text())
    assert (written["current-context"], written["preferences"]) == ("here", {"colors": True})
    assert [file.name for file in dotfiles.parent.iterdir()] == ["kubeconfig"]


def test_what_cannot_be_written_leaves_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    with pytest.raises(CommandFailure, match="config cannot be written"):
        kept.replace(tmp_path / "config", "secret")
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".new-")] == []


def test_a_token_serves_to_its_end_while_the_provider_does_not_answer() -> None:
    gone = Client(f"https://localhost:{free_port()}", "tunegate")
    last = Tokens(token(credential.LEAST_SECONDS - 1), "refresh")
    kept.write(gone, last)
    assert credential.current(gone) == last
    kept.write(gone, Tokens(token(-1), "refresh"))
    with pytest.raises(Unreachable, match="does not answer"):
        credential.current(gone)
