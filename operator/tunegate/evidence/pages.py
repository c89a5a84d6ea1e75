"""Two pages for people: `approvals.md`, who decided what and when; `verify.txt`, how to check all of it by hand."""

from __future__ import annotations

import textwrap

from tunegate.api.approval import Approval
from tunegate.api.shared import Requester
from tunegate.evidence import layout
from tunegate.evidence.card import quoted
from tunegate.evidence.story import GRANTS, Story
from tunegate.ledger import chain
from tunegate.reconcile.modelrelease.ledger_entries import last
from tunegate.release.requesters import needed

MEANING = {
    ("ModelRelease", "Approve"): "agrees that exactly this content is served for the intended use",
    ("ModelRelease", "Reject"): "denies the release, for good",
    ("ModelRelease", "Withdraw"): "takes back an own approval or override",
    ("ModelRelease", "Revoke"): "stops the release, for good",
    ("ModelRelease", "Override"): "has the release served for a time although its quorum is missing",
    ("FineTuneJob", "Approve"): "lets the job go on in spite of what validation found",
    ("FineTuneJob", "Reject"): "ends the job for what validation found",
    ("FineTuneJob", "Withdraw"): "takes back an own waiver",
}


def approvals_page(story: Story) -> str:
    """Return every decision with the name of who decided, its time and its meaning (21 CFR 11.50), and whether it was counted."""
    statement = story.statement
    roles = needed(statement.policy.spec.roles, statement.release.spec.requested_by, statement.job.requested_by)
    worked = ", ".join(quoted(one.username) for one in statement.job.contributors)
    asked = [
        f"# Decisions on {statement.release.namespace}/{statement.release.name}",
        f"- Release: {quoted(story.digest)}, uid {quoted(statement.release.uid)}",
        f"- Requested by: {_requester(statement.release.spec.requested_by)}; "
        f"the job by: {_requester(statement.job.requested_by)}",
        f"- Policy: {quoted(statement.policy.name)}, {quoted(statement.policy.digest)}",
        *(f"- Needs: {role.min_approvals} of role {quoted(role.name)}" for role in roles),
        *([f"- Contributors: {worked}"] if worked else []),
        *_override(story),
    ]
    parts = ["\n".join([asked[0], "", *asked[1:]])]
    parts += [_decision(story, approval, number) for number, approval in enumerate(story.approvals, start=1)]
    return "\n\n".join(parts) + "\n"


def _requester(person: Requester) -> str:
    return quoted(person.username) + (", on behalf of people who are not known" if person.unverified else "")


def _override(story: Story) -> list[str]:
    """Return what happened to the release by break-glass, for a reader who stops at the head of the page."""
    granted, ended = last(story.own_records, "BreakGlassGranted"), last(story.own_records, "BreakGlassEnded")
    if granted is None:
        return []
    payload, end = granted.payload, "not ended when this was written"
    if ended is not None:
        end = f"ended as {ended.payload['outcome']} at {ended.time}, {chain.record_name(ended.sequence)}"
    return [
        f"- **Break-glass**: served without {quoted(payload['missing'])} from {quoted(granted.time)} until "
        f"{quoted(payload['expirationTime'])} at most, by {quoted(payload['approvers'])}, {chain.record_name(granted.sequence)}; {end}"
    ]


def _decision(story: Story, approval: Approval, number: int) -> str:
    spec, person = approval.spec, approval.spec.approver
    recorded = next(
        one for one in story.records if one.type == "ApprovalRecorded" and one.payload.get("approval") == approval.uid
    )
    counted = [
        chain.record_name(one.sequence)
        for one in story.records
        if one.type in GRANTS and approval.uid in one.payload.get("approvals", "").split(",")
    ]
    facts = [
        f"- Decided by: {quoted(person.username)}, uid {quoted(person.uid or 'none')}, groups {quoted(', '.join(person.groups))}",
        *([f"- Person: {quoted(person.person_id)}"] if person.person_id else []),
        *([f"- Signed in: {quoted(person.auth_time)}"] if person.auth_time else []),
        f"- Time: {quoted(str(approval.metadata['creationTimestamp']))}, holds until {quoted(spec.expiration_time)}",
        f"- Meaning: {MEANING.get((spec.subject_ref.kind, spec.decision), 'none: there is no such decision')}",
        f"- Role: {quoted(spec.role)}",
        f"- Content: {quoted(spec.subject_digest)}",
        f"- Signature: {_signature(approval)}",
        f"- Approval: {quoted(approval.name)}, uid {quoted(approval.uid)}",
        f"- Recorded in {chain.record_name(recorded.sequence)}; counted in {', '.join(counted) or 'none'}",
        "- Reason:",
    ]
    title = f"## {number}. {spec.decision} of {spec.subject_ref.kind} {spec.subject_ref.name}"
    return "\n".join([title, "", *facts, "", textwrap.indent(spec.reason, "      ")])


def _signature(approval: Approval) -> str:
    signed = approval.spec.signature
    if signed is None:
        return "none; the API server proved who decided"
    return f"names key {quoted(signed.signatures[0].keyid)}; `tunegate evidence verify --approver-keys` verifies it"


def verify_page(story: Story) -> str:
    """Return how to check the folder with `sha256sum`, `jq` and `openssl`; lines that begin with `$ ` are commands."""
    documents = layout.documents(story.statement)
    named = "\n".join(
        f"""$ jq -r '"\\(.layers[0].digest | ltrimstr("sha256:"))  {one.path}"' {one.manifest_path} | sha256sum -c"""
        for one in documents
    )
    return VERIFY.format(
        release=f"{story.statement.release.namespace}/{story.statement.release.name}",
        digest=story.digest, head=story.head, named=named, signed=SIGNED if story.signed else UNSIGNED,
    )  # fmt: skip


VERIFY = """\
How to check this folder without our tool

With bash, sha256sum, jq and openssl, in this folder. Each command that fails, or prints FAILED or a line that begins with
< or >, has found a difference. Compare with what you noted elsewhere, never with what stands here:

  release {release}
  release digest {digest}
  ledger head    {head}

1. The files are those of the index. The index's own SHA-256 is what `tunegate evidence export` printed.

$ sha256sum index.json
$ jq -r '.files[] | "\\(.sha256)  \\(.path)"' index.json | sha256sum -c --quiet
$ diff <(jq -r '.files[].path' index.json | sort) <(find . -type f ! -path ./index.json | sed 's|^./||' | sort)

2. The release digest is the SHA-256 of the release statement.

$ sha256sum release-statement.json

3. The statement names the OCI manifest of every result, of the data statement and of the adapter.

$ jq -r '.job.results | to_entries[] | "\\(.value | ltrimstr("sha256:"))  oci/\\(.key | ascii_downcase).json"' release-statement.json | sha256sum -c
$ jq -r '"\\(.data.statementDigest | ltrimstr("sha256:"))  oci/data-statement.json"' release-statement.json | sha256sum -c
$ jq -r '"\\(.adapter.digest | ltrimstr("sha256:"))  oci/adapter.json"' release-statement.json | sha256sum -c

4. Each of these manifests names its document.

{named}

5. The adapter's manifest names its files. Pull them with any OCI tool and compare.

$ diff <(jq -r '.layers[] | "\\(.digest | ltrimstr("sha256:"))  \\(.annotations["org.opencontainers.image.title"])"' oci/adapter.json | sort -k 2) <(jq -r '.files[] | "\\(.sha256)  \\(.path)"' manifest.json)

6. The ledger: each record names the hash before it, and has the hash of its own content. The last one is the head.

$ diff <(jq -r .spec.previousHash ledger-extract.jsonl | tail -n +2) <(jq -r .spec.hash ledger-extract.jsonl | head -n -1)
$ diff <(jq -r .spec.hash ledger-extract.jsonl) <(while read -r line; do (printf 'tunegate.io/audit-record/v1\\n'; printf '%s' "$line" | jq -jcS '.spec | del(.hash)') | openssl dgst -sha256 -r | sed 's/^/sha256:/; s/ .*//'; done < ledger-extract.jsonl)
$ tail -n 1 ledger-extract.jsonl | jq -r '"\\(.spec.sequence):\\(.spec.hash)"'

7. The decisions: the ledger holds the SHA-256 of what each one says. Who they are is in approvals.md; whether they suffice
is for you to compare with .policy.spec.roles of the release statement.

$ while read -r line; do uid=$(jq -r .metadata.uid <<< "$line"); diff <(printf 'sha256:%s\\n' "$(jq -jcS '.spec | {{approver: ([.approver.username, .approver.uid // ""] + .approver.groups), decision, digest: .subjectDigest, expirationTime, form: "tunegate.io/approval/v1", reason, role, subject: [.subjectRef.kind, .subjectRef.name, .subjectRef.uid]}} + (.approver | [.personId // "", .authTime // ""] | if any(. != "") then {{human: .}} else {{}} end) + (if .signature then {{signature}} else {{}} end)' <<< "$line" | openssl dgst -sha256 -r | cut -d ' ' -f 1)") <(jq -r --arg uid "$uid" '.spec | select(.type == "ApprovalRecorded" and .payload.approval == $uid) | .payload.content' ledger-extract.jsonl); done < approvals.jsonl

jq writes characters below U+0020 and U+007F in its own way: a record or reason that holds one needs an RFC 8785 tool instead.

8. {signed}
9. environment.json, manifest.json, approvals.md, model-card.md, mlbom.cdx.json, risk.json and provenance.intoto.json repeat
what stands in the other files, for people and for other tools: believe the sources.
"""
UNSIGNED = """The ledger names no signatures: the operator had no key when this was exported.
"""
SIGNED = """The signatures: the ledger names their OCI manifests, and these name the files and the adapter.

$ for name in provenance release model; do jq -r --arg name $name 'select(.spec.type == "EvidenceSealed" and .spec.subject.uid == $uid) | "\\(.spec.payload[$name] | ltrimstr("sha256:"))  oci/\\($name)-signature.json"' --arg uid "$(jq -r .release.uid release-statement.json)" ledger-extract.jsonl; done | sha256sum -c
$ for one in provenance:signatures/provenance.dsse.json release:signatures/release.dsse.json model:model.sig; do jq -r --arg file "${one#*:}" '"\\(.layers[0].digest | ltrimstr("sha256:"))  \\($file)"' "oci/${one%%:*}-signature.json"; done | sha256sum -c
$ diff <(jq -r .subject.digest oci/provenance-signature.json oci/release-signature.json oci/model-signature.json) <(for n in 1 2 3; do jq -r .adapter.digest release-statement.json; done)
$ diff <(jq -r .payload signatures/release.dsse.json | base64 -d | jq -r .predicate.releaseDigest) <(sha256sum release-statement.json | sed 's/^/sha256:/; s/ .*//')
$ diff <(jq -r .payload signatures/provenance.dsse.json | base64 -d | jq -S .) <(jq -S . provenance.intoto.json)

Who signed shows your own copy of the operator's public key, ledger-key.pem, which is not in this folder. Each must say Verified OK:

  for file in signatures/*.dsse.json model.sig; do
    envelope=$(jq -c '.dsseEnvelope // .' $file); payload=$(jq -r .payload <<< "$envelope" | base64 -d)
    printf 'DSSEv1 28 application/vnd.in-toto+json %s %s' $(printf %s "$payload" | wc -c) "$payload" | openssl dgst -sha256 -verify ledger-key.pem -signature <(jq -r '.signatures[0].sig' <<< "$envelope" | base64 -d)
  done

And over the adapter's files, pulled into ADAPTER, with the PyPI package model-signing:

  model_signing verify key ADAPTER --signature model.sig --public_key ledger-key.pem --no-ignore-git-paths
"""
