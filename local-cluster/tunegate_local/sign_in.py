"""How people sign in beside client certificates: the OpenID provider whose tokens the API server trusts, and what they say.

The provider itself is a program that who wants it starts (`issuer/`): the API server looks for it every ten seconds, and
starts without it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tunegate_local import binaries, certificates, files, settings

CONFIGURATION = settings.STATE / "authentication.json"
CLIENT = "tunegate"
"""Id of the provider's client, and audience of its tokens."""
PERSON_ID = "tunegate.io/person-id"
AUTH_TIME = "tunegate.io/auth-time"


def ensure_configuration() -> Path:
    """The API server's AuthenticationConfiguration; it reads the file again when it changes."""
    text = json.dumps(document(certificates.issuer_authority().certificate.read_text()), indent=2)
    files.keep(CONFIGURATION, text + "\n")
    return CONFIGURATION


def issuer_command(people: Path) -> list[str]:
    """The provider with the accounts of a JSON file: objects with username, password, employeeId and groups."""
    pair = certificates.ensure_issuer()
    address = settings.ISSUER.removeprefix("https://")
    program = [str(binaries.ensure_issuer()), f"--address={address}", f"--client={CLIENT}", f"--people={people}"]
    return [*program, f"--certificate={pair.certificate}", f"--key={pair.key}"]


def document(authority: str) -> dict[str, Any]:
    """The AuthenticationConfiguration; ``authority`` is the PEM text of the provider's."""
    extra = {
        PERSON_ID: "has(claims.employee_id) ? claims.employee_id : ''",
        AUTH_TIME: "has(claims.auth_time) ? string(timestamp(int(claims.auth_time))) : ''",
    }
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [
            {
                "issuer": {"url": settings.ISSUER, "certificateAuthority": authority, "audiences": [CLIENT]},
                "claimMappings": {
                    "username": {"expression": "claims.preferred_username"},
                    "groups": {"expression": "claims.groups"},
                    "uid": {"expression": "claims.sub"},
                    "extra": [{"key": key, "valueExpression": value} for key, value in extra.items()],
                },
                "userValidationRules": [
                    {
                        "expression": "!user.username.startsWith('system:')"
                        " && user.groups.all(group, !group.startsWith('system:'))",
                        "message": "names that start with system: are the cluster's own",
                    }
                ],
            }
        ],
    }
