"""`login`, `logout` and `credential`, and what they take."""

from __future__ import annotations

from tunegate.cli.grammar import Grammar
from tunegate.cli.login import credential
from tunegate.cli.login.login import login, logout

SITE = "--issuer https://login.example --client-id tunegate"


def add(commands: Grammar) -> None:
    """Add the commands."""
    one = commands.add(
        "login", login, "sign in by an OpenID provider, for this program and for kubectl",
        examples=[f"login --server https://api.example:6443 --ca ca.crt {SITE} -n licenses-team", "login", "login --device"],
    )  # fmt: skip
    one.add_argument(
        "--server", metavar="URL", help="the API server; default: sign in again for the kubeconfig's context"
    )
    one.add_argument("--ca", metavar="FILE", help="PEM authority of the API server; default: those of the system")
    credential.add_options(one, required=False)
    how = one.add_mutually_exclusive_group()
    how.add_argument("--device", action="store_true", help="sign in on another device, with a code to type there")
    how.add_argument(
        "--no-browser", action="store_true", help="print the address for a browser of this machine, open none"
    )
    one.add_argument(
        "--fresh", action="store_true",
        help="have the provider ask who you are even if it remembers you, as policies with maxAuthAgeSeconds need",
    )  # fmt: skip
    one.add_argument(
        "--redirect-port", type=int, default=0, metavar="PORT",
        help="where the browser comes back to, http://localhost:PORT; default: a free one",
    )  # fmt: skip

    one = commands.add(
        "logout", logout, "end the login of the kubeconfig's context", examples=["logout", "logout --context prod"]
    )
    credential.add_options(one, required=False)

    one = commands.add(
        credential.NAME, credential.credential, "print the token of a login in the form that kubectl reads", connects=False,
        examples=[f"{credential.NAME} {SITE}"],
    )  # fmt: skip
    credential.add_options(one, required=True)
