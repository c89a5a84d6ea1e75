"""Who may ask: keys of a Secret, members of a group, and nobody by default."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gateway.standins import token
from tunegate.gateway.access import Access
from tunegate.gateway.cluster import Reviewed, Unreachable
from tunegate.gateway.errors import ApiError
from tunegate.gateway.keys import ApiKeys

KEY = "correct-horse-battery-staple"
TOKEN = token("ada")
ADDRESS = "10.0.0.7"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Cluster:
    """Knows one token; counts how often it is asked."""

    def __init__(self, reviewed: Reviewed) -> None:
        self.reviewed = reviewed
        self.asked = 0
        self.reachable = True

    async def review(self, token: str, audience: str) -> Reviewed:
        self.asked += 1
        if not self.reachable:
            raise Unreachable("no route")
        return self.reviewed if (token, audience) == (TOKEN, "tunegate-gateway") else Reviewed(False)


MEMBER = Reviewed(True, "ada", ("analysts", "system:authenticated"))


def access(folder: Path, cluster: Cluster, clock: Clock | None = None) -> Access:
    clock = clock or Clock()
    return Access(ApiKeys(folder, clock), cluster, clock)


async def refusal(who: Access, header: str | None, groups: tuple[str, ...] = ("analysts",)) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await who.admit(header, groups, ADDRESS)
    return caught.value


async def test_a_key_of_the_secret_is_admitted(tmp_path: Path) -> None:
    (tmp_path / "team").write_text(KEY + "\n")
    await access(tmp_path, Cluster(MEMBER)).admit(f"Bearer {KEY}", (), ADDRESS)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer  ", f"Basic {KEY}", f"Bearer {KEY}x", KEY])
async def test_anything_else_is_refused(tmp_path: Path, header: str | None) -> None:
    (tmp_path / "team").write_text(KEY)
    error = await refusal(access(tmp_path, Cluster(MEMBER)), header, ())
    assert error.status == 401


async def test_without_keys_and_groups_nobody_is_admitted(tmp_path: Path) -> None:
    cluster = Cluster(MEMBER)
    error = await refusal(access(tmp_path / "absent", cluster), f"Bearer {TOKEN}", ())
    assert error.status == 401
    assert cluster.asked == 0


async def test_short_keys_and_hidden_files_are_no_keys(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("guess-me")
    (tmp_path / "..data").write_text(KEY)
    who = access(tmp_path, Cluster(MEMBER))
    assert (await refusal(who, "Bearer guess-me")).status == 401
    assert (await refusal(who, f"Bearer {KEY}")).status == 401


async def test_a_removed_key_is_refused_within_seconds(tmp_path: Path) -> None:
    clock = Clock()
    (tmp_path / "team").write_text(KEY)
    who = access(tmp_path, Cluster(MEMBER), clock)
    await who.admit(f"Bearer {KEY}", (), ADDRESS)
    (tmp_path / "team").unlink()
    clock.now += 6
    assert (await refusal(who, f"Bearer {KEY}", ())).status == 401


async def test_a_member_of_the_group_is_admitted_and_asked_about_once_a_minute(tmp_path: Path) -> None:
    clock, cluster = Clock(), Cluster(MEMBER)
    who = access(tmp_path, cluster, clock)
    for _ in range(3):
        await who.admit(f"Bearer {TOKEN}", ("analysts",), ADDRESS)
    assert cluster.asked == 1
    clock.now += 61
    await who.admit(f"Bearer {TOKEN}", ("analysts",), ADDRESS)
    assert cluster.asked == 2


@pytest.mark.attack(63)
async def test_all_accounts_of_a_namespace_have_one_share_and_each_person_their_own(tmp_path: Path) -> None:
    shares = []
    for name in ("system:serviceaccount:apps:one", "system:serviceaccount:apps:two", "ada", "ben"):
        who = access(tmp_path, Cluster(Reviewed(True, name, ("analysts",))))
        shares.append(await who.admit(f"Bearer {TOKEN}", ("analysts",), ADDRESS))
    assert shares[0] == shares[1]
    assert len(set(shares)) == 3


async def test_a_stranger_to_the_group_is_refused_by_name(tmp_path: Path) -> None:
    error = await refusal(access(tmp_path, Cluster(MEMBER)), f"Bearer {TOKEN}", ("others",))
    assert (error.status, error.code) == (403, "not_in_group")
    assert "ada" in error.message


async def test_unknown_tokens_are_refused_but_not_asked_about_every_time(tmp_path: Path) -> None:
    cluster = Cluster(Reviewed(False))
    who = access(tmp_path, cluster)
    for _ in range(3):
        assert (await refusal(who, f"Bearer {TOKEN}")).status == 401
    assert cluster.asked == 1


async def test_when_tokens_cannot_be_checked_the_answer_is_not_now_rather_than_no(tmp_path: Path) -> None:
    cluster = Cluster(MEMBER)
    cluster.reachable = False
    error = await refusal(access(tmp_path, cluster), f"Bearer {TOKEN}")
    assert (error.status, error.retry_after) == (503, 5)


@pytest.mark.parametrize(
    "nonsense", ["a.b.c", f"a.{'e30'}.c", "..", "a.!.c", token("ada", "https://kubernetes.default.svc"), "a.bnVsbA.c"]
)
async def test_what_is_no_token_for_the_gateway_is_refused_without_a_question(tmp_path: Path, nonsense: str) -> None:
    cluster = Cluster(MEMBER)
    assert (await refusal(access(tmp_path, cluster), f"Bearer {nonsense}")).status == 401
    assert cluster.asked == 0


async def test_made_up_tokens_push_no_known_one_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunegate.gateway.access.REMEMBERED", 3)
    monkeypatch.setattr("tunegate.gateway.access.REFUSAL_COST_SECONDS", 0.0)
    cluster = Cluster(MEMBER)
    who = access(tmp_path, cluster)
    await who.admit(f"Bearer {TOKEN}", ("analysts",), ADDRESS)
    for number in range(10):
        assert (await refusal(who, f"Bearer {token(str(number))}")).status == 401
    asked = cluster.asked
    await who.admit(f"Bearer {TOKEN}", ("analysts",), ADDRESS)
    assert cluster.asked == asked
