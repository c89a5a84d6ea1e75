"""Which adapter answers under a public name, whatever order approvals, routes and probes come in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunegate.api.serving import RoutesDocument
from tunegate.gateway.routes import RouteTable

OLD, NEW = "extract-v1-00000001", "extract-v2-00000002"


def document(routes: dict[str, str], approved: list[str], revision: int = 1) -> RoutesDocument:
    return RoutesDocument(revision=revision, routes=routes, names=sorted(routes), approved=approved)


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
    routes = {"extract": NEW, "other": OLD}
    table.follow(RoutesDocument(revision=1, routes=routes, approved=[OLD, NEW], closes={NEW: ends}))
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
    late.follow(RoutesDocument(revision=1, routes=routes, approved=[OLD, NEW], closes={NEW: ends}))
    assert late.open == {}, "a pod that comes up later does not open it again"


NAMES = st.sampled_from(["a-00000001", "b-00000002", "c-00000003"])
PUBLIC = st.sampled_from(["one", "two", "base"])
STEPS = st.lists(
    st.one_of(
        st.builds(document, st.dictionaries(PUBLIC, NAMES), st.lists(NAMES)),
        st.frozensets(NAMES),
    ),
    max_size=12,
)


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
        assert set(table.open.values()) <= approved & held
        assert set(table.open) <= routed - {"base"}
