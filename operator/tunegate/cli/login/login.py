"""`tunegate login` and `tunegate logout`."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from oauthlib.oauth2 import OAuth2Error

from tunegate.cli import kubeconfig, screen
from tunegate.cli.cluster import Cluster, Json
from tunegate.cli.failure import CommandFailure, Forbidden, WrongCertificate, WrongUsage
from tunegate.cli.login import browser, context, credential, device, kept
from tunegate.cli.login.provider import Client, Provider, Tokens, wrong
from tunegate.cli.whoami import own_groups

OTHER_PROGRAM = "your kubeconfig does not sign in by this program: give"
AGAIN = f"{OTHER_PROGRAM} --server, --issuer and --client-id, which the platform team tells you"
NOTHING_TO_END = f"{OTHER_PROGRAM} --issuer and --client-id, as you signed in"


def login(options: Namespace) -> int:
    """Sign in, ask the API server who that is, and put a context into the kubeconfig that shows it."""
    if options.as_ or options.as_group:
        raise WrongUsage("login signs you in yourself: leave out --as and --as-group")
    if options.fresh and options.device:
        raise WrongUsage(
            "--fresh needs a browser of this machine: on another device, sign out of the provider there first"
        )
    if options.server is None and (options.ca or credential.given(options)):
        raise WrongUsage(
            "--issuer, --client-id, --issuer-ca, --issuer-ca-data, --scope and --ca go with --server; leave all of them out to "
            "sign in as the kubeconfig says"
        )
    made = None if options.server is None else _context(options)
    client, entry = _known(options, AGAIN) if made is None else _named(options, made)
    where = context.file(options.kubeconfig)
    if made is not None:
        context.merged(where, made)
    _reach(entry)
    provider = Provider(client)
    try:
        tokens = _sign_in(provider, options)
    finally:
        provider.close()
    me = _whoami(entry, client, tokens)
    with kept.locked(client):
        kept.write(client, tokens)
    groups = ", ".join(own_groups(me)) or "no groups"
    print(f"{screen.shown(me.get('username'))} ({screen.shown(groups)}) is signed in")
    if made is not None:
        context.write(where, made)
        print(f"context {made['current-context']} in {where} is the current one")
    if tokens.refresh_token is None:
        print(
            f"note: {client.issuer} gives no refresh token, so you have to sign in again when this one ends: "
            "its client may need the scope offline_access",
            file=sys.stderr,
        )
    return 0


def logout(options: Namespace) -> int:
    """End the login at the provider, as far as it offers that, and forget its tokens."""
    named = bool(options.issuer and options.client_id)
    if credential.given(options) and not named:
        raise WrongUsage(
            "give --issuer and --client-id together, with --issuer-ca and --scope as you signed in; leave all of them out to end "
            "the login of the kubeconfig's context"
        )
    client = credential.client_of(options) if named else _known(options, NOTHING_TO_END)[0]
    with kept.locked(client):
        tokens = kept.read(client)
        kept.remove(client)
    if tokens is None:
        print(f"you were not signed in at {client.issuer}")
    else:
        print(f"signed out of {client.issuer}{_revoked(client, tokens)}")
    return 0


def _context(options: Namespace) -> Json:
    """Return a kubeconfig with the context that the options describe. Raises ``WrongUsage``."""
    if not (options.issuer and options.client_id):
        raise WrongUsage("with --server, give --issuer and --client-id too: the platform team tells you both")
    entry = context.cluster(options.server, Path(options.ca) if options.ca else None)
    name = options.context or str(urlsplit(options.server).hostname)
    return context.document(name, entry, context.user(credential.client_of(options)), options.namespace)


def _named(options: Namespace, made: Json) -> tuple[Client, Json]:
    return credential.client_of(options), made["clusters"][0]["cluster"]


def _known(options: Namespace, otherwise: str) -> tuple[Client, Json]:
    """Return the login that the kubeconfig's context names, and its cluster. Raises ``CommandFailure``, also with ``otherwise``."""
    _, cluster, user = kubeconfig.chosen(options.kubeconfig, options.context)
    plugin = user.get("exec") or {}
    client = credential.parsed([str(word) for word in plugin.get("args") or ()])
    if client is None:
        raise CommandFailure(otherwise)
    return client, cluster


def _sign_in(provider: Provider, options: Namespace) -> Tokens:
    try:
        if options.device:
            return device.sign_in(provider)
        opens = browser.is_there() and not options.no_browser
        if not opens and not options.no_browser and not options.fresh and device.is_offered(provider):
            print("This machine has no browser, so you sign in on another device.", file=sys.stderr)
            return device.sign_in(provider)
        return browser.sign_in(provider, options.redirect_port, opens=opens, fresh=options.fresh)
    except OAuth2Error as error:
        raise wrong(provider.client.issuer, error) from error


def _reach(entry: Json) -> None:
    """Find a wrong address or authority before anybody signs in; what the API server answers does not matter."""
    with _asking(entry, {}) as cluster, contextlib.suppress(Forbidden):
        try:
            cluster.read("/version")
        except WrongCertificate as error:
            if error.of_authority:
                raise CommandFailure(
                    f"the API server at {entry.get('server')} has a certificate of another authority: give --ca FILE, which the "
                    "platform team gives you"
                ) from error
            raise


def _whoami(entry: Json, client: Client, tokens: Tokens) -> Json:
    with _asking(entry, {"token": tokens.id_token}) as cluster:
        try:
            return cluster.whoami()
        except Forbidden as error:
            raise CommandFailure(
                f"you signed in at {client.issuer}, but the API server at {entry.get('server')} does not take its token ({error}): "
                f"issuer and client id ({client.client_id}) must be those of its --oidc-issuer-url and --oidc-client-id, "
                "or of its authentication configuration"
            ) from error


@contextlib.contextmanager
def _asking(entry: Json, user: Json) -> Iterator[Cluster]:
    """Open a connection that no kubeconfig has yet."""
    with tempfile.TemporaryDirectory(prefix="tunegate-") as folder:  # for its owner only
        place = Path(folder) / "config"
        place.write_text(json.dumps(context.document("login", entry, user, None)))
        cluster = Cluster(str(place))
    yield cluster


def _revoked(client: Client, tokens: Tokens) -> str:
    """Have the provider end the refresh token (RFC 7009); return what to say where it did not."""
    provider = Provider(client)
    try:
        endpoint = provider.endpoint("revocation_endpoint")
        if endpoint is None or tokens.refresh_token is None:
            return ""
        form = {"token": tokens.refresh_token, "token_type_hint": "refresh_token", "client_id": client.client_id}
        provider.post(endpoint, urlencode(form))
    except CommandFailure as error:
        return f" on this machine; but its refresh token was not ended there: {error}"
    finally:
        provider.close()
    return ""
