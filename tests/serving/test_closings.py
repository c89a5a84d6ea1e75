"""What was revoked is closed when every gateway says so; a pod that goes on answering it, or cannot be asked, is deleted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.support.server_world import SETTINGS, World, conditions, release, served
from tunegate.api.approvalpolicy import DEFAULT_CLOSE_AFTER_SECONDS
from tunegate.api.modelserver import Closing
from tunegate.reconcile.modelserver import planner
from tunegate.reconcile.plan import Plan


def revoked() -> World:
    """Return a world whose one release was revoked a moment ago, with its route closed by the operator."""
    world = World()
    world.put(release("one"))
    world.settle()
    world.phase("one", "Revoked")
    world.step()
    return world


def later(world: World, seconds: float) -> None:
    world.now += timedelta(seconds=seconds)


@pytest.mark.attack(53)
def test_revocation_is_confirmed_by_the_gateway_and_recorded_once() -> None:
    world = revoked()
    world.step()
    assert conditions(world)["RevocationConfirmed"] == ("True", "RevocationConfirmed")
    assert world.events("RevocationConfirmed") == ["one"]
    later(world, 5)
    world.step()
    assert world.events("RevocationConfirmed") == ["one"]
    world.settle()
    assert "RevocationConfirmed" not in conditions(world)
    assert world.status.get("closings", []) == []
    assert world.stopped == []


@pytest.mark.attack(53)
def test_a_gateway_that_still_answers_is_named_and_its_pod_is_deleted() -> None:
    world = revoked()
    world.deaf = {"extract": {served("one"): 100}}
    plan = world.step()
    assert conditions(world)["RevocationConfirmed"] == ("False", "RevocationNotConfirmed")
    assert f"{served('one')}: pod-0" in world.status["message"]
    assert plan.requeue_after is not None
    assert plan.requeue_after < 5
    assert world.stopped == []
    later(world, 11)
    plan = world.step()
    assert world.stopped == ["pod-0"]
    assert world.events("ServingPodDeleted") == ["one"]
    assert [note.reason for note in plan.events if note.reason == "ServingPodDeleted"] == ["ServingPodDeleted"]
    world.step()
    assert world.events("RevocationConfirmed") == ["one"]
    assert "RevocationConfirmed" not in conditions(world)


@pytest.mark.attack(53)
@pytest.mark.parametrize("routes", [[{"name": "extract"}], []], ids=["a route leads there", "only approved"])
def test_a_gateway_that_answers_nothing_has_not_confirmed_a_closing_that_it_has_not_read(routes: list[Any]) -> None:
    world = World()
    world.put(release("one"))
    world.settle()
    world.spec["routes"] = routes
    world.settle()
    world.table.hold(frozenset())  # The engine is away.
    world.table.follow = lambda document: None  # type: ignore[method-assign]
    world.phase("one", "Revoked")
    world.step()
    world.step()
    assert conditions(world)["RevocationConfirmed"] == ("False", "RevocationNotConfirmed")
    assert world.events("RevocationConfirmed") == []
    later(world, 11)
    plan = world.step()
    assert world.stopped == ["pod-0"]
    (note,) = [note for note in plan.events if note.reason == "ServingPodDeleted"]
    assert "has not read the routes that close it after 11 seconds" in note.message


@pytest.mark.attack(53)
def test_a_gateway_that_answers_nothing_confirms_no_closing_that_is_refused() -> None:
    world = World()
    world.put(release("one"))
    world.settle()
    world.table.hold(frozenset())
    world.phase("one", "Revoked")
    plan = planner.plan(replace(world.observed(), closing_refused=True), SETTINGS, world.now)
    assert "RevocationConfirmed" not in types(plan)


@pytest.mark.attack(53)
def test_a_gateway_that_cannot_be_asked_has_as_long_as_it_may_trust_old_routes() -> None:
    world = revoked()
    world.silent = True
    world.step()
    assert conditions(world)["RevocationConfirmed"] == ("False", "RevocationNotConfirmed")
    later(world, DEFAULT_CLOSE_AFTER_SECONDS)
    world.step()
    assert world.stopped == []
    later(world, 31)
    world.step()
    assert world.stopped == ["pod-0"]


def test_a_gateway_that_has_confirmed_may_fall_silent() -> None:
    world = revoked()
    world.step()
    world.silent = True
    later(world, 600)
    world.step()
    assert world.stopped == []
    assert conditions(world)["RevocationConfirmed"] == ("True", "RevocationConfirmed")


def test_the_policy_says_how_long_routes_hold() -> None:
    world = World()
    world.put(release("one"))
    plan = planner.plan(replace(world.observed(), close_after_seconds=600), SETTINGS, world.now)
    routes = next(obj for obj in plan.applies if obj["kind"] == "ConfigMap")
    assert '"validSeconds": 600' in routes["data"]["routes.json"]


@pytest.mark.attack(53, 69)
def test_routes_that_are_not_the_operators_are_closed_before_anything_else_is_looked_at() -> None:
    world = World()
    world.put(release("one"))
    world.settle()
    world.registry_away, world.ledger_away = True, True
    plan = planner.plan(replace(world.observed(), routes=None, routes_forged=True), SETTINGS, world.now)
    assert [obj["kind"] for obj in plan.closes] == ["ConfigMap"]
    assert '"routes": {}' in plan.closes[0]["data"]["routes.json"]
    assert (plan.audit, plan.applies, plan.status) == ((), (), None)


@pytest.mark.attack(53)
def test_a_status_that_cannot_be_written_gives_a_gateway_that_still_answers_no_more_time() -> None:
    world = revoked()
    world.deaf = {"extract": {served("one"): 100}}
    world.ledger_away = True  # and with it every status
    plan = world.step()
    assert plan.status is not None
    assert world.status.get("closings", []) == []
    world.closings = tuple(map(Closing.model_validate, plan.status["closings"]))
    later(world, 11)
    world.step()
    assert world.stopped == ["pod-0"]


@pytest.mark.attack(53)
def test_where_closing_is_refused_gateways_are_asked_and_pods_deleted_all_the_same() -> None:
    world = World()
    world.put(release("one"))
    world.settle()
    world.phase("one", "Revoked")
    world.table.follow = lambda document: None  # type: ignore[method-assign]
    refused = planner.plan(replace(world.observed(), closing_refused=True), SETTINGS, world.now)
    assert [obj["metadata"]["name"] for obj in refused.closes] == ["tunegate-routes-server"]
    assert [obj["metadata"]["name"] for obj in refused.applies if "routes.json" in obj.get("data", {})] == []
    assert [entry.type for entry in refused.audit if entry.type == "RouteClosed"] == []
    assert refused.status is not None
    world.status = dict(refused.status)
    later(world, 11)
    plan = planner.plan(replace(world.observed(), closing_refused=True), SETTINGS, world.now)
    assert [ref.name for ref in plan.stops] == ["pod-0"]
    assert plan.status is not None
    assert [route["targets"][0]["servedName"] for route in plan.status["routes"]] == [served("one")]


@pytest.mark.attack(53)
def test_pods_come_before_the_rest_that_a_server_has() -> None:
    world = World()
    plan = world.step()
    kinds = [obj["kind"] for obj in plan.applies]
    assert kinds[0] == "ConfigMap"
    assert kinds.index("Deployment") < min(kinds.index(kind) for kind in ("Service", "Role", "RoleBinding"))


def test_a_pod_with_the_servers_labels_that_is_not_its_own_is_told() -> None:
    world = World()
    world.settle()
    stranger = {"metadata": {"name": "stranger", "namespace": "team", "uid": "u"}, "spec": {}, "status": {}}
    plan = planner.plan(replace(world.observed(), strangers=(stranger,)), SETTINGS, world.now)
    assert plan.status is not None
    assert "stranger" in plan.status["message"]
    assert [one.payload["object"] for one in plan.audit] == ["Pod team/stranger"]


def types(plan: Plan) -> list[str]:
    return [entry.type for entry in plan.audit]


def two_routes() -> World:
    """Return a world in which one route is open, and another can be opened."""
    world = World(spec={"routes": [{"name": "extract"}, {"name": "other"}]})
    world.put(release("one"))
    world.settle()
    world.put(release("two", model="other", minute=1))
    world.step()
    world.roll_out()
    return world


def test_a_route_that_is_taken_away_closes_before_another_is_opened_and_recorded() -> None:
    world = two_routes()
    world.spec = {"routes": [{"name": "other"}]}
    world.registry_away = True
    plan = planner.plan(replace(world.observed(), gateways={}, base_model=None), SETTINGS, world.now)
    assert '"routes": {}' in plan.closes[0]["data"]["routes.json"]
    assert (types(plan), plan.applies, plan.status) == ([], (), None)
    assert [note.message for note in plan.events] == ["route extract: no longer in spec.routes"]
    world.registry_away = False
    world.step()
    assert world.routes is not None
    assert world.routes.routes == {}
    following = planner.plan(world.observed(), SETTINGS, world.now)
    assert types(following)[0] == "RouteClosed"
    assert types(following)[-1] == "RouteOpened"


def test_what_may_be_held_back_stands_after_everything_that_closed() -> None:
    world = two_routes()
    world.bad_adapters[served("one")] = "its probe differs"
    held = planner.plan(world.observed(), SETTINGS, world.now)
    assert held.closes
    assert held.status is None
    world.step()
    plan = planner.plan(world.observed(), SETTINGS, world.now)
    kinds = types(plan)
    assert kinds.index("RouteClosed") < kinds.index("AdapterLeftOut") < kinds.index("RouteOpened")


def test_clients_that_the_spec_no_longer_lists_are_shut_out_without_waiting() -> None:
    world = World(spec={"routes": [{"name": "extract"}], "clients": {"kubernetesGroups": ["team-a", "team-b"]}})
    world.put(release("one"))
    world.settle()
    world.spec["clients"] = {"kubernetesGroups": ["team-b"]}
    plan = planner.plan(replace(world.observed(), base_model=None), SETTINGS, world.now)
    assert '"kubernetesGroups": ["team-b"]' in plan.closes[0]["data"]["routes.json"]
    assert f'"servedName": "{served("one")}"' in plan.closes[0]["data"]["routes.json"]


def test_an_identity_provider_that_the_spec_no_longer_names_is_shut_out_without_waiting() -> None:
    provider = {"issuer": "https://login.example.com", "audience": "models"}
    world = World(spec={"routes": [{"name": "extract"}], "clients": {"oidc": provider}})
    world.put(release("one"))
    world.settle()
    live = world.observed().routes
    assert live is not None
    assert live.oidc is not None
    world.spec["clients"] = {"oidc": {**provider, "audience": "others"}}
    plan = planner.plan(replace(world.observed(), base_model=None), SETTINGS, world.now)
    assert '"oidc"' not in plan.closes[0]["data"]["routes.json"]
    assert f'"servedName": "{served("one")}"' in plan.closes[0]["data"]["routes.json"]


def test_a_closing_that_is_refused_again_and_again_holds_up_nothing_else() -> None:
    world = two_routes()
    world.spec = {"routes": [{"name": "other"}]}
    plan = planner.plan(replace(world.observed(), closing_refused=True), SETTINGS, world.now)
    assert [obj["kind"] for obj in plan.closes] == ["ConfigMap"]
    assert plan.status is not None
    assert "RouteOpened" not in types(plan)
