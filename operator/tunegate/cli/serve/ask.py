"""`ask`: one question to a served model, asked as the gate asked, with the base model's answer beside it if wanted."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence

from tunegate.api.modelserver import ModelServer
from tunegate.api.stage.layout import BASE_SERVED_NAME
from tunegate.cli import screen
from tunegate.cli.cluster import Cluster, Json
from tunegate.cli.failure import CommandFailure, WrongUsage
from tunegate.cli.serve.gateway import Gateway, opened

ASKED_AS = "asked_as"
"""In what a gateway says of a model: the defaults that it takes from the gate."""


def ask(cluster: Cluster, options: Namespace) -> int:
    """Print the model's answer, and with ``--base`` that of the base model to the same request."""
    text = sys.stdin.read().strip() if options.question == "-" else options.question
    if not text:
        raise WrongUsage("the question is empty")
    server = _server(cluster, options.model, options.namespace or cluster.namespace)
    gateway = opened(cluster, server, options)
    asked_as = gateway.model(options.model).get(ASKED_AS) or {}
    turns = [{"role": "system", "content": options.system}] if options.system else []
    turns.append({"role": "user", "content": text})
    answers = [_answer(gateway, {"model": options.model, "messages": turns})]
    if options.base:
        answers.append(_answer(gateway, _as_the_gate_asked(asked_as, turns)))
    if options.output == "json":
        screen.write({"answers": answers, "askedAs": asked_as}, "json")
        return 0
    for answer in answers:
        if options.base:
            screen.heading(screen.console(), answer["model"])
        print("\n".join(map(screen.shown, answer["answer"].split("\n"))))
        if answer["finish"] == "length":
            print("note: the answer was cut: it has as many tokens as the gate allowed", file=sys.stderr)
    return 0


def _as_the_gate_asked(asked_as: Json, turns: Sequence[Json]) -> Json:
    """Return the request that the tuned model got, for the base model, of which no gateway has defaults."""
    body: Json = {"model": BASE_SERVED_NAME, "messages": list(turns), "temperature": 0}
    body |= {name: asked_as[name] for name in ("max_tokens", "response_format") if name in asked_as}
    if "system_prompt" in asked_as and turns[0]["role"] != "system":
        body["messages"] = [{"role": "system", "content": asked_as["system_prompt"]}, *turns]
    return body


def _answer(gateway: Gateway, body: Json) -> Json:
    document = gateway.chat(body)
    try:
        choice = document["choices"][0]
        text = str(choice["message"]["content"] or "")
    except (KeyError, IndexError, TypeError):
        raise CommandFailure(f"the gateway at {gateway.address} gives no answer that can be read") from None
    return {"model": body["model"], "answer": text, "finish": choice.get("finish_reason")}


def _server(cluster: Cluster, model: str, namespace: str) -> ModelServer:
    """Return the server that answers under a name; of several the first by name."""
    servers = sorted(cluster.all(ModelServer, namespace), key=lambda one: one.name)
    if model == BASE_SERVED_NAME and servers:
        return servers[0]
    for server in servers:
        if any(route.name == model and route.state == "Open" for route in server.status.routes):
            return server
    closed = [(one.name, route) for one in servers for route in one.status.routes if route.name == model]
    if closed:
        name, route = closed[0]
        raise CommandFailure(
            f"the route {model} of server/{name} is closed: {route.reason or 'nothing approved may answer'}"
        )
    known = sorted({route.name for server in servers for route in server.status.routes})
    raise CommandFailure(
        f"no server of namespace {namespace} has a route {model}; routes are {', '.join(known) or '(none)'}"
    )
