"""Which adapter answers under a public name, whatever order approvals, routes and probes come in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gateway.standins import to
from tunegate.api.modelserver import ClientQuota, IdentityProvider
from tunegate.api.serving import OpenRoute, RoutesDocument
from tunegate.gateway.routes import RouteTable

OLD, NEW = "extract-v1-00000001", "extract-v2-00000002"


def document(routes: Mapping[str, str | OpenRoute], approved: list[str], revision: int = 1) -> RoutesDocument:
    """Return what the operator wants; a route to one adapter is written as that adapter's served name."""
    made = {name: to(target) if isinstance(target, str) else target for name, target in routes.items()}
    return RoutesDocument(revision=revision, routes=made, names=sorted(routes), approved=approved)


def test_base_answers_before_any_route_is_known() -> None:
    table = RouteTable()
    assert not table.known
    assert table.resolve("base") == "base"
    assert table.resolve("extract") is None


def test_a_route_opens_when_its_adapter_is_held() -> None:
    table = RouteTable()
    table.follow(document({"extract": NEW}, [NEW]))
    assert table.may_open("extract")
    assert table.resolve("extract") is None
    table.hold(frozenset({NEW}))
    assert table.resolve("extract") == NEW


def test_a_closed_route_is_told_from_a_name_without_a_route() -> None:
    table = RouteTable()
    assert table.may_open("anything"), "before the routes were read nobody can say which there are"
    table.follow(RoutesDocument(revision=1, routes={}, names=["extract"], approved=[]))
    assert (table.may_open("extract"), table.may_open("unknown")) == (True, False)
    table.close("it does not exist")
    assert (table.may_open("extract"), table.may_open("unknown")) == (True, True)


@pytest.mark.attack(63)
def test_quotas_stay_while_every_route_is_closed() -> None:
    quota, now = ClientQuota(requests_per_minute=7), [0.0]
    table = RouteTable(seconds=lambda: now[0])
    table.follow(document({"extract": NEW}, [NEW]).model_copy(update={"per_client": quota}))
    table.close("it does not exist")
    table.close("its owner is another")
    assert table.per_client == quota
    now[0] += 10_000
    assert (table.stale, table.per_client) == (True, quota)
    table.follow(document({"extract": NEW}, [NEW], revision=2))
    assert table.per_client == ClientQuota(), "the owner has lifted it"


@pytest.mark.attack(53)
def test_a_document_that_is_too_old_lets_nobody_in_by_groups_or_an_identity_provider() -> None:
    now, provider = [0.0], IdentityProvider(issuer="https://login.example.com", audience="models")
    table = RouteTable(seconds=lambda: now[0])
    told = document({"extract": NEW}, [NEW])
    told = told.model_copy(update={"oidc": provider, "kubernetes_groups": ["analysts"], "valid_seconds": 60})
    table.follow(told)
    assert (table.provider, table.groups) == (provider, ("analysts",))
    now[0] += 61
    assert (table.provider, table.groups) == (None, ())
    table.follow(told)
    assert (table.provider, table.groups) == (provider, ("analysts",))


def test_a_served_name_is_no_public_name() -> None:
    table = RouteTable()
    table.hold(frozenset({NEW}))
    table.follow(document({"extract": NEW}, [NEW]))
    assert table.resolve(NEW) is None


def test_a_pod_of_the_old_rollout_keeps_the_old_adapter_while_it_is_approved() -> None:
    table = RouteTable()
    table.hold(frozenset({OLD}))
    table.follow(document({"extract": OLD}, [OLD]))
    table.follow(document({"extract": NEW}, [OLD, NEW], revision=2))
    assert table.resolve("extract") == OLD


@pytest.mark.attack(26)
def test_a_revoked_adapter_answers_nothing_even_where_the_new_one_is_missing() -> None:
    table = RouteTable()
    table.hold(frozenset({OLD}))
    table.follow(document({"extract": OLD}, [OLD]))
    table.follow(document({"extract": NEW}, [NEW], revision=2))
    assert table.resolve("extract") is None


@pytest.mark.attack(22)
def test_a_route_named_base_never_shadows_the_base_model() -> None:
    table = RouteTable()
    table.hold(frozenset({NEW}))
    table.follow(document({"base": NEW}, [NEW]))
    assert table.resolve("base") == "base"
    assert "base" not in table.open


CLIENTS = [f"key:{number:04x}" for number in range(4000)]


def split(*weights: int, approved: tuple[str, ...] = (OLD, NEW)) -> RoutesDocument:
    return document({"extract": to(OLD, NEW, weights=weights)}, [*approved])


def answers(table: RouteTable) -> dict[str, str | None]:
    return {client: table.resolve("extract", client) for client in CLIENTS}


def shares(table: RouteTable) -> dict[str | None, float]:
    counts = Counter(answers(table).values())
    return {name: count / len(CLIENTS) for name, count in counts.items()}


def test_clients_are_shared_by_weight_and_stay_while_weights_step() -> None:
    table = RouteTable()
    table.hold(frozenset({OLD, NEW}))
    before: dict[str, str | None] = {}
    for weight in (0, 5, 25, 50, 100, 25, 0):
        table.follow(split(100 - weight, weight))
        after = answers(table)
        assert shares(table).get(NEW, 0) == pytest.approx(weight / 100, abs=0.02)
        assert answers(table) == after, "asked again, everybody gets the same answer"
        moved = {(before[client], after[client]) for client in CLIENTS if before and before[client] != after[client]}
        assert len(moved) <= 1, "clients move in one direction only"
        before = after


def test_every_gateway_chooses_alike_and_another_route_chooses_otherwise() -> None:
    tables = [RouteTable() for _ in range(2)]
    for table in tables:
        table.hold(frozenset({OLD, NEW}))
        route = to(OLD, NEW, weights=(50, 50))
        table.follow(document({"extract": route, "other": route}, [OLD, NEW]))
    assert answers(tables[0]) == answers(tables[1])
    assert answers(tables[0]) != {client: tables[0].resolve("other", client) for client in CLIENTS}


@pytest.mark.attack(81)
@pytest.mark.attack(26)
@pytest.mark.parametrize("approved", [(OLD,), (OLD, NEW)])
def test_a_target_that_is_revoked_or_not_held_gets_nothing_and_only_its_clients_move(approved: tuple[str, ...]) -> None:
    table = RouteTable()
    table.hold(frozenset({OLD, NEW}))
    table.follow(split(60, 40))
    before = answers(table)
    assert set(before.values()) == {OLD, NEW}
    if NEW in approved:
        table.hold(frozenset({OLD}))
    else:
        table.follow(split(60, 40, approved=approved))
    assert set(answers(table).values()) == {OLD}
    assert table.open == {"extract": {OLD: 60}}
    table.hold(frozenset())
    assert set(answers(table).values()) == {None}, "the share of nobody goes to nobody"


def test_of_three_only_the_clients_of_the_one_that_goes_move() -> None:
    third = "extract-v3-00000003"
    table = RouteTable()
    table.follow(document({"extract": to(OLD, NEW, third, weights=(50, 30, 20))}, [OLD, NEW, third]))
    table.hold(frozenset({OLD, NEW, third}))
    before = answers(table)
    table.hold(frozenset({OLD, NEW}))
    after = answers(table)
    assert all(after[client] == before[client] for client in CLIENTS if before[client] != third)
    assert shares(table)[OLD] == pytest.approx(50 / 80, abs=0.03)


def test_a_target_of_weight_zero_answers_nobody_even_alone() -> None:
    table = RouteTable()
    table.follow(split(100, 0))
    table.hold(frozenset({NEW}))
    assert (table.resolve("extract"), table.open) == (None, {})


def test_nothing_is_open_while_the_engine_is_away() -> None:
    table = RouteTable()
    table.hold(frozenset({NEW}))
    table.follow(document({"extract": NEW}, [NEW]))
    table.hold(frozenset())
    assert table.open == {}


@pytest.mark.attack(42)
def test_what_an_override_opened_closes_by_the_second_without_a_word_of_the_operator() -> None:
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    table = RouteTable(lambda: now)
    table.hold(frozenset({OLD, NEW}))
    ends = now + timedelta(minutes=5)
    opened = document({"extract": NEW, "other": OLD}, [OLD, NEW]).model_copy(update={"closes": {NEW: ends}})
    table.follow(opened)
    now = ends - timedelta(microseconds=1)
    assert not table.expire()
    assert table.resolve("extract") == NEW
    now = ends
    assert (table.resolve("extract"), "extract" in table.open) == (None, False), "even if nobody closes it"
    assert table.expire()
    assert (table.resolve("extract"), table.resolve("other")) == (None, OLD)
    assert table.allowed == {OLD}
    assert not table.expire()
    late = RouteTable(lambda: now)
    late.hold(frozenset({NEW}))
    late.follow(opened)
    assert late.open == {}, "a pod that comes up later does not open it again"


NAMES = st.sampled_from(["a-00000001", "b-00000002", "c-00000003"])
PUBLIC = st.sampled_from(["one", "two", "base"])
TARGETS = st.dictionaries(NAMES, st.integers(0, 100), min_size=1).map(
    lambda found: to(*found, weights=[*found.values()])
)
STEPS = st.lists(
    st.one_of(
        st.builds(document, st.dictionaries(PUBLIC, TARGETS), st.lists(NAMES)),
        st.frozensets(NAMES),
    ),
    max_size=12,
)


@pytest.mark.attack(81)
@settings(deadline=None)
@given(STEPS)
def test_what_answers_is_always_approved_and_held(steps: list[RoutesDocument | frozenset[str]]) -> None:
    table, approved, held = RouteTable(), set[str](), frozenset[str]()
    routed: set[str] = set()
    for step in steps:
        if isinstance(step, RoutesDocument):
            table.follow(step)
            approved, routed = set(step.approved), set(step.routes)
        else:
            table.hold(step)
            held = step
        assert table.open_names <= approved & held
        assert set(table.open) <= routed - {"base"}
        for public in routed:
            answers = table.resolve(public, "a client")
            assert public == "base" or answers is None or answers in approved & held
