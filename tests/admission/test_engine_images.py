"""Which program answers as the engine is the platform's choice: on a real API server, by who runs servers."""

from __future__ import annotations

import json

import pytest

from tests.support.builders import IMAGE, make_modelserver
from tests.support.governed_namespace import OPERATOR, Json, World, patch

pytestmark = pytest.mark.cluster
SVEN = "serving-operator"
OTHER = "example.org/other@sha256:" + "1" * 64


def server(world: World, image: str, name: str = "engines") -> Json:
    profile = {"image": image, "device": "CPU", "maxModelLen": 1024}
    return make_modelserver(name, world.namespace, profile=profile)


@pytest.mark.attack(60)
@pytest.mark.parametrize("role", [SVEN, "platform-admin"])
def test_a_server_with_an_image_that_is_not_listed_is_refused_and_told_what_is(world: World, role: str) -> None:
    world.create(role, server(world, IMAGE)).passes()
    world.create(role, server(world, OTHER)).refused(OTHER, "is not among the engine images", IMAGE, "images.engines")


@pytest.mark.attack(60)
def test_the_digest_of_a_listed_image_under_another_name_is_another_image(world: World) -> None:
    renamed = f"registry.example.org/elsewhere@{IMAGE.partition('@')[2]}"
    world.create(SVEN, server(world, renamed)).refused("is not among the engine images")


@pytest.mark.attack(60)
def test_a_server_whose_image_was_taken_off_the_list_is_still_scaled_and_led_back(world: World) -> None:
    made = server(world, IMAGE, "withdrawn")
    world.create(SVEN, made, dry_run=False).passes()
    patch(world, SVEN, "modelserver", "withdrawn", {"spec": {"replicas": 0}}, "--dry-run=server").passes()
    change = {"spec": {"profile": {"image": OTHER}}}
    patch(world, SVEN, "modelserver", "withdrawn", change, "--dry-run=server").refused("profile")
    world.kubectl(SVEN, "delete", "modelserver", "withdrawn", "-n", world.namespace).passes()


@pytest.mark.attack(60)
def test_the_operator_itself_puts_no_other_image_into_a_server(world: World) -> None:
    made = json.loads(json.dumps(server(world, OTHER)))
    world.create("admin", made, as_=OPERATOR, groups=("system:masters",)).refused("is not among the engine images")
