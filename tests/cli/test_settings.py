"""Which registry a command talks to: that of its options, else that of the person's settings."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from tunegate.cli import config, exchange, oci_registry
from tunegate.cli.failure import CommandFailure
from tunegate.cli.main import parser

NONE = {"registry": None, "registry_auth": None, "registry_ca": None, "registry_plain_http": False}


def asked(**given: str | bool) -> oci_registry.Place | None:
    return oci_registry.known(Namespace(**{**NONE, **given}))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of settings in a home of its own; `~` is that home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.delenv(config.VARIABLE, raising=False)
    file = tmp_path / ".config/tunegate/config.yaml"
    file.parent.mkdir(parents=True)
    return file


def test_without_settings_and_options_no_registry_is_known_and_it_is_said_how_to_name_one(settings: Path) -> None:
    assert asked() is None
    unknown = r"Give --registry HOST, or name it once in ~/\.config/tunegate/config\."
    with pytest.raises(CommandFailure, match=unknown), oci_registry.opened(Namespace(**NONE)):
        pass


def test_settings_name_the_registry_with_files_that_lie_beside_them(settings: Path, tmp_path: Path) -> None:
    settings.write_text("registry: {host: 'r.example:5443', authFile: auth.json, caFile: ~/ca.crt}")
    assert asked() == oci_registry.Place("r.example:5443", settings.parent / "auth.json", tmp_path / "ca.crt", False)


def test_options_go_before_settings_one_by_one(settings: Path) -> None:
    settings.write_text("registry: {host: r.example, authFile: auth.json, caFile: ca.crt, plainHTTP: true}")
    place = asked(registry_ca="other.crt")
    assert place == oci_registry.Place("r.example", settings.parent / "auth.json", Path("other.crt"), True)


def test_a_credential_of_the_settings_is_not_shown_to_another_registry(settings: Path, tmp_path: Path) -> None:
    settings.write_text("registry: {host: r.example, authFile: auth.json, caFile: ca.crt, plainHTTP: true}")
    assert asked(registry="other.example") == oci_registry.Place(
        "other.example", tmp_path / ".docker/config.json", None, False
    )


def test_what_the_settings_give_an_exchange_goes_to_no_other(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.write_text(
        "registry: {host: r.example, exchange: 'e.example:8443', tokenFile: token, caFile: ca.crt, plainHTTP: true}"
    )
    (settings.parent / "token").write_text("secret")
    own = exchange.address(parser().parse_args(["data", "list", "--exchange", "e.example:8443"]))
    assert (own.ca_file, own.plain_http, own.token()) == (settings.parent / "ca.crt", True, "secret")
    monkeypatch.setenv("KUBECONFIG", str(settings.parent / "none"))
    for account in ("", ", serviceAccount: stella"):
        settings.write_text(settings.read_text().replace("}", f"{account}}}"))
        other = exchange.address(parser().parse_args(["data", "list", "--exchange", "other.example"]))
        assert (other.host, other.ca_file, other.plain_http) == ("other.example", None, False)
        with pytest.raises(CommandFailure, match="no usable kubeconfig"):
            other.token()
    named = ["data", "list", "--exchange", "other.example", "--token-file", str(settings.parent / "token")]
    assert exchange.address(parser().parse_args(named)).token() == "secret"


def test_a_section_of_the_settings_belongs_to_its_own_address_alone() -> None:
    gateway = config.GatewaySettings(address="https://g.example", token_file="token")
    assert config.belonging(gateway, "address", None) is gateway
    assert config.belonging(gateway, "address", "https://g.example") is gateway
    assert config.belonging(gateway, "address", "https://other.example") is None
    assert config.belonging(None, "address", None) is None


def test_the_environment_names_another_file_which_must_be_there(
    settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.write_text("registry: {host: r.example}")
    other = tmp_path / "other.yaml"
    monkeypatch.setenv(config.VARIABLE, str(other))
    with pytest.raises(CommandFailure, match=r"other\.yaml cannot be read: No such file"):
        asked()
    other.write_text("")
    assert asked() is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("registry: {hots: x}", r"these fields are wrong: registry\.host, registry\.hots"),
        ("registries: {}", "these fields are wrong: registries"),
        ("registry: [", "are not YAML"),
        ("registry: {host: ''}", r"registry\.host"),
    ],
)
def test_settings_that_cannot_be_understood_are_named(settings: Path, text: str, says: str) -> None:
    settings.write_text(text)
    with pytest.raises(CommandFailure, match=says):
        asked()
