"""A second image with the same content and another digest: what an upgrade of the operator looks like from outside."""

from __future__ import annotations

import json

import httpx

MEDIA_TYPES = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


def twin(reference: str) -> str:
    """Push the image of ``host/repository@digest`` again with one more annotation; return the new reference."""
    name, _, digest = reference.partition("@")
    host, _, repository = name.partition("/")
    url = f"http://{host}/v2/{repository}/manifests"
    with httpx.Client(headers={"Accept": MEDIA_TYPES}, trust_env=False) as client:
        answer = client.get(f"{url}/{digest}").raise_for_status()
        manifest = answer.json()
        manifest["annotations"] = {**manifest.get("annotations", {}), "tunegate.io/twin-of": digest}
        content_type = {"Content-Type": answer.headers["Content-Type"]}
        pushed = client.put(f"{url}/twin", content=json.dumps(manifest), headers=content_type).raise_for_status()
    return f"{name}@{pushed.headers['Docker-Content-Digest']}"
