"""Evaluates the CEL of the chart's admission policies without an API server, with Google's library.

Of the additions of Kubernetes it has those that our rules use: `authorizer`, `cidr(…).containsIP(…)`, `isSorted`, `sum`, and functions of strings. It does not
check which requests a policy matches, types of fields, or cost limits. So a server may reject an expression that works here. The other tests
in tests/admission run the same rules on a real server.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_strings

Json = dict[str, Any]
NAMES = ("object", "oldObject", "request", "params", "variables", "authorizer", "self", "oldSelf")
MAP = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
VARIABLE = re.compile(r"\bvariables\.(\w+)")


@dataclass(frozen=True)
class Caller:
    """The author of a request. ``may``: their RBAC rights in all namespaces, as verb and `group/resource/name`."""

    username: str
    groups: tuple[str, ...] = ("system:authenticated",)
    uid: str = ""
    extra: Mapping[str, list[str]] = field(default_factory=dict)
    may: Collection[tuple[str, str]] = ()

    @property
    def user_info(self) -> Json:
        info: Json = {"username": self.username, "groups": list(self.groups), "extra": dict(self.extra)}
        return {**info, "uid": self.uid} if self.uid else info


def decide(policy: Json, caller: Caller, obj: Json | None, **given: Any) -> list[str]:
    """Return the messages of a policy that refuses the request; none if it allows it.

    ``given``: `oldObject`, `params`, and parts of `request`: operation, namespace, kind, …
    """
    spec = policy["spec"]
    data: Json = {
        "object": obj,
        "oldObject": given.pop("oldObject", None),
        "params": given.pop("params", None),
        "authorizer": {"may": [" ".join(right) for right in caller.may]},
        "request": {"operation": "CREATE", "namespace": "team-a", **given, "userInfo": caller.user_info},
    }
    if not all(evaluate(one["expression"], data) is True for one in spec.get("matchConditions", [])):
        return []
    own: dict[str, str] = {}
    for variable in spec.get("variables", []):
        own[variable["name"]] = with_variables(variable["expression"], own)
    return list(_refusals(spec["validations"], own, data))


def _refusals(rules: list[Json], variables: Mapping[str, str], data: Json) -> Iterator[str]:
    for rule in rules:
        if evaluate(with_variables(rule["expression"], variables), data) is not True:
            message = rule.get("messageExpression")
            yield str(evaluate(with_variables(message, variables), data)) if message else rule["message"]


def with_variables(expression: str, variables: Mapping[str, str]) -> str:
    """Return the expression with the variables replaced by theirs. Like the server, this evaluates only variables that are used."""
    return VARIABLE.sub(lambda found: f"({variables[found[1]]})", expression)


def evaluate(expression: str, data: Json) -> Any:
    """Return the value of an expression. Raises ``ValueError`` if the evaluation fails."""
    value = compiled(expression).eval(data=data)
    if value.type() == cel.Type.ERROR:
        raise ValueError(f"{value.value()}: {expression}")
    return value.plain_value()


@lru_cache(maxsize=512)
def compiled(expression: str) -> cel.Expression:
    """Return the compiled expression. Raises if it is not CEL or calls an unknown function."""
    return _environment().compile(expression)


@lru_cache(maxsize=1)
def _environment() -> cel.Env:
    return cel.NewEnv(
        variables=dict.fromkeys(NAMES, cel.Type.DYN), extensions=[ext_strings.ExtStrings()], functions=_functions()
    )


def _functions() -> list[cel.FunctionDecl]:
    """Return the functions of `authorizer`, each of which adds a part to the question, and those of addresses and lists."""

    def method(name: str, returns: cel.Type, implementation: Any, *parameters: cel.Type) -> cel.FunctionDecl:
        overload = cel.Overload(name, returns, [MAP, *parameters], is_member=True, impl=implementation)
        return cel.FunctionDecl(name, [overload])

    def asks(part: str) -> cel.FunctionDecl:
        return method(part, MAP, lambda question, word: {**question, part: word}, cel.Type.STRING)

    def allowed(question: Json) -> bool:
        asked = "/".join(
            str(question[part]) for part in ("group", "resource", "subresource", "name") if part in question
        )
        return f"{question['check']} {asked}" in question["may"]

    def contains(network: Json, address: str) -> bool:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network["cidr"])

    cidr = cel.Overload("cidr", MAP, [cel.Type.STRING], impl=lambda text: {"cidr": text})

    def of_list(name: str, returns: cel.Type, implementation: Any) -> cel.FunctionDecl:
        listed = [cel.Type.List(cel.Type.DYN)]
        return cel.FunctionDecl(name, [cel.Overload(name, returns, listed, is_member=True, impl=implementation)])

    return [
        *map(asks, ("group", "resource", "subresource", "namespace", "name", "check")),
        method("allowed", cel.Type.BOOL, allowed),
        method("containsIP", cel.Type.BOOL, contains, cel.Type.STRING),
        cel.FunctionDecl("cidr", [cidr]),
        of_list("isSorted", cel.Type.BOOL, lambda items: items == sorted(items)),
        of_list("sum", cel.Type.INT, sum),
    ]
