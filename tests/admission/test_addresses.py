"""Nobody takes over what is sent to an address that is not theirs, from whatever namespace.

On an API server of the test's own: the rule holds in the whole cluster, and an installed chart may allow other addresses.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import namespace_admin
from tests.support.control_plane import Member
from tests.support.governed_namespace import Json, World
from tests.support.namespace_admin import act
from tests.support.separate_server import governed_alone

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.local_cluster("starts its own API server and etcd, from the binaries of the local cluster"),
    pytest.mark.timeout(300),
]
MEMBERS = (
    Member("admin", "tunegate-admin", ("system:masters",)),
    Member("platform-admin", "petra", ("system:masters",)),
    Member("reviewer-risk", "ravi", ("tunegate:model-risk",)),
)
TINA = "tina"
"""May do everything with the Services of a namespace that is not governed."""
GATEWAY = "10.96.218.132"
WORDS = "a Service takes over what is sent there"


def service(namespace: str, name: str = "elsewhere", **spec: object) -> Json:
    metadata = {"name": name, "namespace": namespace}
    content = {"selector": {"app": "mine"}, "ports": [{"port": 80}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": content}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with governed_alone(tmp_path_factory.mktemp("plane"), MEMBERS) as world:
        yield world


@pytest.fixture(scope="module")
def elsewhere(world: World) -> Iterator[str]:
    """A namespace beside the governed one."""
    name = f"{world.namespace}-beside"
    world.kubectl("admin", "create", "namespace", name).passes()
    # Not Kubernetes' own role `edit`: no controller runs here that would fill it.
    world.kubectl("admin", "create", "role", "tina", "--verb=*", "--resource=services", "-n", name).passes()
    world.kubectl("admin", "create", "rolebinding", "tina", "--role=tina", f"--user={TINA}", "-n", name).passes()
    probe = service(name, externalIPs=[GATEWAY])
    namespace_admin.until_refused(lambda: namespace_admin.create(world, TINA, probe), WORDS)
    yield name
    world.kubectl("admin", "delete", "namespace", name, "--wait=false")


@pytest.mark.attack(62)
@pytest.mark.parametrize("address", [GATEWAY, "10.96.0.1", "198.51.100.7", "fd00:1234::7", "::ffff:10.96.0.1"])
def test_a_service_that_claims_an_address_is_refused(world: World, elsewhere: str, address: str) -> None:
    answer = namespace_admin.create(world, TINA, service(elsewhere, externalIPs=[address]))
    assert answer.code != 0
    # A form that CEL does not read is refused by the same rule, one that Kubernetes does not know by the API server.
    assert "tunegate-addresses" in answer.err or "Invalid value" in answer.err, answer.err


@pytest.mark.attack(62)
def test_an_address_is_not_added_later_nor_among_others(world: World, elsewhere: str) -> None:
    made = service(elsewhere, "grows", externalIPs=["203.0.113.7"])
    act(world, TINA, "create", "-f", "-", stdin=made).passes()
    for change in (
        f'{{"spec": {{"externalIPs": ["203.0.113.7", "{GATEWAY}"]}}}}',
        f'{{"spec": {{"externalIPs": ["{GATEWAY}"]}}}}',
    ):
        answer = act(world, TINA, "patch", "service", "grows", "-n", elsewhere, "--type=merge", "-p", change)
        answer.refused(WORDS, GATEWAY, "admission.externalAddresses")


@pytest.mark.attack(62)
def test_ordinary_services_the_sites_addresses_and_maintainers_go_on(world: World, elsewhere: str) -> None:
    for spec in ({}, {"type": "LoadBalancer"}, {"type": "NodePort"}, {"externalIPs": ["203.0.113.8"]}):
        namespace_admin.create(world, TINA, service(elsewhere, **spec)).passes()
    world.create("platform-admin", service(elsewhere, externalIPs=["198.51.100.7"])).passes()


@pytest.mark.attack(62)
def test_what_claimed_an_address_before_the_rule_can_be_led_away_from_it(world: World, elsewhere: str) -> None:
    before = service(elsewhere, "before", externalIPs=["198.51.100.9", GATEWAY])
    world.create("platform-admin", before, dry_run=False).passes()
    less = '{"spec": {"externalIPs": ["198.51.100.9"]}}'
    act(world, TINA, "patch", "service", "before", "-n", elsewhere, "--type=merge", "-p", less).passes()
    more = f'{{"spec": {{"externalIPs": ["198.51.100.9", "{GATEWAY}"]}}}}'
    act(world, TINA, "patch", "service", "before", "-n", elsewhere, "--type=merge", "-p", more).refused(WORDS)
