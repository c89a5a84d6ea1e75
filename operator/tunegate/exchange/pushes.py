"""Pushing: parts first, each hashed here, then one request that completes them; list, show and withdraw.

Stateless: what was stored already is asked of the registry, so that a push that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from tunegate import digests
from tunegate.api.conditions import rfc3339
from tunegate.api.markers import Digest
from tunegate.api.pushed import (
    ENDINGS,
    KINDS,
    NAME,
    PART_BYTES,
    PART_TYPE,
    Push,
    Pushed,
    PushedKind,
    PushedPlace,
    records_repository,
    wrong_endings,
)
from tunegate.api.stage.layout import MAX_DOCUMENT_BYTES
from tunegate.deadlines import Threads
from tunegate.errors import MOST_PLACES, wrong_places
from tunegate.exchange.allowances import Allowances
from tunegate.exchange.bodies import received
from tunegate.exchange.identity import Caller, Identity
from tunegate.exchange.places import Places
from tunegate.exchange.rights import Right
from tunegate.exchange.settings import GIB, ExchangeSettings
from tunegate.gateway.errors import ApiError
from tunegate.logs import event
from tunegate.registry.client import RegistryClient
from tunegate.registry.pushed import absent_parts, count_pushes, list_pushes, read_push, withdraw, write_push

log = logging.getLogger("tunegate.exchange")
PARTS_AT_ONCE = 4
"""Parts and descriptions held in memory; others wait. Half of them are one caller's at most."""
BODY_SECONDS = 120.0
"""To receive a part or the description of a push."""
STORE_SECONDS = 120.0
"""To store a part, or to look for all parts of a push."""
SAID = frozenset({"missing", "too_long", "too_short", "string_too_long", "string_pattern_mismatch", "literal_error",
                  "greater_than_equal", "less_than_equal", "extra_forbidden", "date_from_datetime_parsing"})  # fmt: skip
"""Faults of pydantic whose text says what is allowed, and nothing of what was given."""
LARGEST_DESCRIPTION = 2 * 1024 * 1024
_DIGEST: TypeAdapter[str] = TypeAdapter(Digest)


class Pushes:
    """What callers do with pushed data, each after RBAC was asked."""

    def __init__(self, settings: ExchangeSettings, identity: Identity, registry: RegistryClient) -> None:
        self._settings = settings
        self._identity = identity
        self._registry = registry
        self._threads = Threads("the registry", PARTS_AT_ONCE)
        self._places = Places(PARTS_AT_ONCE)
        self._allowances = Allowances(int(settings.gibibytes_per_day * GIB))
        self._completing = asyncio.Lock()
        """One push is completed at a time, so that the count of a namespace's pushes holds."""

    async def has_part(self, request: web.Request) -> web.Response:
        """Answer whether a part is there already: 200 or 404."""
        _, repository = await self._pushing(request)
        size = await self._call(self._registry.blob_size, repository, _digest(request))
        return web.Response(status=404 if size is None else 200)

    async def store_part(self, request: web.Request) -> web.Response:
        """Store one part whose bytes hash to what the path says."""
        caller, repository = await self._pushing(request)
        digest, size = _digest(request), request.content_length
        if size is None:
            raise ApiError(411, "length_required", "say by Content-Length how long the part is")
        if not 0 < size <= PART_BYTES:
            raise ApiError(413, "part_too_large", f"a part has between 1 and {PART_BYTES} bytes, this one {size}")
        async with self._places.taken(caller.username):
            self._allowances.take(caller.username, size)
            content = await received(request, PART_BYTES, BODY_SECONDS, "a part")
            found = await asyncio.to_thread(digests.sha256, content)
            if found != digest:
                raise ApiError(
                    400, "digest_differs", f"the part hashes to {found}, its path says {digest}: send it again"
                )
            await self._call(self._registry.push_blob, repository, content, PART_TYPE)
        return web.Response(status=201)

    async def complete(self, request: web.Request) -> web.Response:
        """Check what was stored, write manifest and record, and answer with the address."""
        caller, repository = await self._pushing(request)
        async with self._places.taken(caller.username):
            return await self._completed(request, caller, repository)

    async def _completed(self, request: web.Request, caller: Caller, repository: str) -> web.Response:
        kind, namespace = _kind(request), request.match_info["namespace"]
        push = await _description(request)
        self._check(kind, push)
        if missing := await self._call(absent_parts, self._registry, repository, push):
            raise ApiError(
                409, "parts_missing", f"{len(missing)} parts are not there, the first is {missing[0]}: push them again"
            )
        by = Pushed(
            place=PushedPlace(namespace=namespace, kind=kind, name=_name(request), digest=f"sha256:{'0' * 64}"),
            declaration=push.declaration,
            pushed_by=caller.username,
            person_id=caller.person_id,
            pushed_time=rfc3339(datetime.now(UTC)),
            files=len(push.files),
            bytes=push.bytes,
            file=push.files[0].path if len(push.files) == 1 else None,
        )
        async with self._completing:
            most = self._settings.pushes_per_namespace
            if await self._call(count_pushes, self._registry, namespace, kind) >= most:
                raise ApiError(
                    429, "namespace_full",
                    f"namespace {namespace} has {most} pushed {kind}, withdrawn ones included, which is all that it may have: ask "
                    "the platform team for a larger exchange.limits.pushesPerNamespace",
                )  # fmt: skip
            pushed = await self._call(write_push, self._registry, namespace, kind, by.place.name, push, by)
        log.info(
            "%s pushed %s", caller.username, pushed.place.uri,
            extra=event(
                "DataPushed", person=caller.username, repository=pushed.place.repository, digest=pushed.place.digest,
                classification=push.declaration and push.declaration.classification, files=pushed.files, bytes=pushed.bytes,
            ),
        )  # fmt: skip
        return web.json_response(_shown(pushed), status=201)

    async def listed(self, request: web.Request) -> web.Response:
        """Answer with everything that was pushed, or with all of one name."""
        kind, namespace = _kind(request), request.match_info["namespace"]
        caller = await self._identity.caller(request.headers.get("Authorization"))
        await self._identity.require(caller, Right("list", kind, namespace))
        named = request.query.get("name", "")
        found = await self._call(list_pushes, self._registry, namespace, kind, named)
        log.info(
            "%s lists the pushed %s of %s", caller.username, kind, namespace,
            extra=event("PushesListed", person=caller.username, kind=kind, namespace=namespace),
        )  # fmt: skip
        return web.json_response({"items": [_shown(one) for one in found]})

    async def withdrawn(self, request: web.Request) -> web.Response:
        """Record that nobody may use a push any more."""
        kind, namespace, name = _kind(request), request.match_info["namespace"], _name(request)
        caller = await self._identity.caller(request.headers.get("Authorization"))
        await self._identity.require(caller, Right("delete", kind, namespace, name))
        place = PushedPlace(namespace=namespace, kind=kind, name=name, digest=_digest(request))
        found = await self._call(read_push, self._registry, place)
        if found is None:
            raise ApiError(404, "not_found", f"nothing was pushed at {place.uri}")
        if found.withdrawn_by is None:
            await self._call(withdraw, self._registry, place, caller.username, rfc3339(datetime.now(UTC)))
            log.info(
                "%s withdrew %s", caller.username, place.uri,
                extra=event("DataWithdrawn", person=caller.username, repository=place.repository, digest=place.digest),
            )  # fmt: skip
            found = await self._call(read_push, self._registry, place) or found
        return web.json_response(_shown(found))

    async def _pushing(self, request: web.Request) -> tuple[Caller, str]:
        """Return who pushes, and the repository that they may push to. Raises ``ApiError``."""
        kind, namespace, name = _kind(request), request.match_info["namespace"], _name(request)
        caller = await self._identity.caller(request.headers.get("Authorization"))
        if namespace not in self._settings.namespaces:
            raise ApiError(403, "not_governed", f"namespace {namespace} is not governed: nothing is pushed to it")
        await self._identity.require(caller, Right("create", kind, namespace, name))
        return caller, f"{records_repository(namespace, kind)}/{name}"

    def _check(self, kind: PushedKind, push: Push) -> None:
        if wrong := wrong_endings(kind, [file.path for file in push.files]):
            raise ApiError(400, "wrong_name", f"files: {wrong[0]} ends in none of {', '.join(ENDINGS[kind])}")
        if (push.declaration is None) != (kind == "questions"):
            raise ApiError(
                400,
                "bad_description",
                f"declaration: {'questions have none' if push.declaration else f'{kind} need one'}",
            )
        most = self._settings.max_bytes if kind == "datasets" else MAX_DOCUMENT_BYTES
        if push.bytes > most:
            raise ApiError(413, "push_too_large", f"a push of {kind} has at most {most} bytes, this one {push.bytes}")

    async def _call(self, work: Any, *arguments: Any) -> Any:
        return await self._threads.call(STORE_SECONDS, work, *arguments)


def _shown(pushed: Pushed) -> dict[str, Any]:
    return {**pushed.to_dict(), "uri": pushed.place.uri}


def _kind(request: web.Request) -> PushedKind:
    return next(kind for kind in KINDS if kind == request.match_info["kind"])


def _name(request: web.Request) -> str:
    return _checked(NAME, request.match_info["name"], "name: lower-case letters, digits and hyphens, at most 40")


def _digest(request: web.Request) -> str:
    return _checked(_DIGEST, request.match_info["digest"], "digest: the form is sha256:… with 64 hexadecimal digits")


def _checked(form: TypeAdapter[str], value: str, says: str) -> str:
    try:
        return form.validate_python(value)
    except ValidationError:
        raise ApiError(400, "bad_path", says) from None


async def _description(request: web.Request) -> Push:
    content = await received(request, LARGEST_DESCRIPTION, BODY_SECONDS, "the description of a push")
    try:
        return Push.model_validate_json(content)
    except ValidationError as error:
        raise ApiError(400, "bad_description", _wrong(error)) from None


def _wrong(error: ValidationError) -> str:
    """Return the places that a description fails at, and what is allowed there where that quotes nothing of it."""
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    told = [
        f"{place}: {fault['msg']}" if fault["type"] in SAID else place
        for place, fault in zip(wrong_places(error), faults[:MOST_PLACES], strict=False)
    ]
    return "; ".join(told)
