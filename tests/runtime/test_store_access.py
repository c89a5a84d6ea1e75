"""The mounted Secret of a store: what is used of it is checked, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunegate.store_access import read_store_access

VALUES = {
    "AWS_ENDPOINT_URL": "https://store.example:9000\n",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "never-shown",
}


def secret(folder: Path, **changes: str) -> Path:
    for name, value in {**VALUES, **changes}.items():
        (folder / name).write_text(value)
    return folder


def test_what_other_programs_read_in_the_same_secret_is_no_fault_of_it(tmp_path: Path) -> None:
    bundle = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

    access = read_store_access(secret(tmp_path, AWS_CA_BUNDLE=bundle, AWS_PROFILE="équipe"))

    assert (access.base, access.key, access.token, access.region) == (
        "https://store.example:9000", "never-shown", None, "us-east-1"
    )  # fmt: skip
    assert "never-shown" not in repr(access)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"AWS_ACCESS_KEY_ID": " "}, "lacks AWS_ACCESS_KEY_ID"),
        ({"AWS_SESSION_TOKEN": "never\nshown"}, "has an AWS_SESSION_TOKEN with more than one line"),
        ({"AWS_ENDPOINT_URL": "https://[x"}, "not like https://host:port"),
    ],
)
def test_what_is_used_is_named_when_it_is_wrong(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        read_store_access(secret(tmp_path, **changes))
    assert "shown" not in str(refused.value)


def test_a_secret_that_is_not_mounted_lacks_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_store_access(tmp_path / "none")
