"""The evidence folder: it fits when nothing was touched, and whatever is altered is found, by the file's name."""

from __future__ import annotations

import json
import random

import pytest

from tests.support import forgery
from tests.support.alterations import altered
from tests.support.released_adapter import KEY, Released, identified_release
from tests.support.signed_release import SignedRelease
from tunegate import __version__
from tunegate.api.approval import Approval
from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.digests import canonical, sha256
from tunegate.evidence import decisions, folder, index, layout
from tunegate.evidence.folder import Noted
from tunegate.ledger import chain
from tunegate.ledger.seal import KeyRing
from tunegate.release.content import approval_digest

MUTATIONS = 1100


@pytest.fixture(scope="module")
def released() -> Released:
    return Released()


@pytest.fixture(scope="module")
def signed() -> Released:
    """A release whose approvers signed, in a ledger with a checkpoint."""
    made = SignedRelease()
    made.checkpoint(KeyRing(KEY))
    return made


def named(files: dict[str, bytes], noted: Noted) -> list[str]:
    return [one.file for one in folder.verify(files, noted).differences]


def test_untouched_folder_fits(released: Released) -> None:
    report = folder.verify(released.files(), released.noted())
    assert report.differences == ()
    assert report.story is not None
    assert report.story.digest == released.noted().digest


def test_two_exports_of_one_release_have_one_index(released: Released) -> None:
    assert released.files() == released.files()


@pytest.mark.parametrize("fitted", [False, True], ids=["index left as it was", "index made to fit"])
def test_every_single_file_that_is_altered_or_gone_is_named(signed: Released, fitted: bool) -> None:
    for path in sorted(signed.files()):
        for content in (b"x", None):
            files = signed.files()
            if content is None:
                del files[path]
            else:
                files[path] += content
            if fitted and path != layout.INDEX:
                forgery.fit_the_index(files)
            assert path in named(files, signed.noted()), path


@pytest.mark.timeout(600)
def test_every_random_mutation_is_found_by_who_noted_release_digest_and_head(signed: Released) -> None:
    original, noted = signed.files(), signed.noted()
    assert b'"type":"CheckpointSigned"' in original[layout.LEDGER]
    assert original[layout.APPROVALS].count(b'"signature":') == 3
    chance = random.Random(20261125)  # noqa: S311
    tried = 0
    while tried < MUTATIONS:
        files = dict(original)
        kind = chance.choice(forgery.KINDS)
        touched = kind(files, chance)
        if files == original:
            continue
        if layout.INDEX not in touched and chance.random() < 0.8:
            forgery.fit_the_index(files)
        assert touched.intersection(named(files, noted)), f"mutation {tried}: {kind.__name__} of {touched}"
        tried += 1


@pytest.mark.attack(38)
@pytest.mark.parametrize("path", [layout.APPROVALS, layout.LEDGER])
def test_every_field_of_decisions_and_records_that_is_altered_is_found(signed: Released, path: str) -> None:
    """Each place of every line; the index is made to fit."""
    original, noted, tried = signed.files(), signed.noted(), 0
    lines = original[path].splitlines()
    for number, line in enumerate(lines):
        for place, changed in altered(json.loads(line), few=True):
            made = canonical(changed)
            if made == line:
                continue
            files = original | {path: b"".join(one + b"\n" for one in [*lines[:number], made, *lines[number + 1 :]])}
            forgery.fit_the_index(files)
            assert path in named(files, noted), (number, place)
            tried += 1
    assert tried > 100


def test_ledger_that_was_chained_anew_is_found_by_the_head_alone(released: Released) -> None:
    files = released.files()
    changed = [one.model_copy(update={"actor": "somebody"}) if one.sequence == 1 else one for one in released.records]
    files[layout.LEDGER] = relinked(changed)
    forgery.fit_the_index(files)
    assert layout.LEDGER in named(files, Noted(head=released.noted().head))
    assert layout.LEDGER not in named(files, Noted())


def test_cut_off_tail_is_found_by_the_head_alone(released: Released) -> None:
    sources = released.sources()
    sources[layout.LEDGER] = b"".join(sources[layout.LEDGER].splitlines(keepends=True)[:-1])
    files, differences = folder.complete(sources)
    assert differences == ()
    assert named(files, released.noted()) == [layout.LEDGER]
    assert named(files, Noted(digest=released.noted().digest)) == []


def test_folder_that_was_made_up_whole_is_found_by_the_release_digest_alone(released: Released) -> None:
    other = Released()
    other.release["spec"]["intendedUse"] = "Something else entirely, which nobody was asked about."
    other.start_again()
    files = other.files()
    assert named(files, Noted()) == []
    assert named(files, Noted(digest=released.noted().digest)) == [layout.STATEMENT]


def test_reason_that_was_reworded_everywhere_is_not_what_the_ledger_recorded(released: Released) -> None:
    files = released.files()
    for path in (layout.APPROVALS, "approvals.md"):
        files[path] = files[path].replace(b"report and data were read", b"nothing was ever read")
    forgery.fit_the_index(files)
    assert layout.APPROVALS in named(files, Noted())


def test_time_of_a_decision_is_the_recorded_one(released: Released) -> None:
    files = released.files()
    files[layout.APPROVALS] = files[layout.APPROVALS].replace(b"2026-11-24T12:00:00Z", b"2026-11-24T12:00:01Z")
    assert layout.APPROVALS in named(files, Noted())


def test_decision_that_the_ledger_does_not_know_is_named(released: Released) -> None:
    sources = released.sources()
    extra = json.loads(json.dumps(released.approvals[-1]))
    extra["metadata"] |= {"name": "made-up", "uid": "another"}
    listed = [Approval.model_validate(one) for one in [*released.approvals, extra]]
    sources[layout.APPROVALS] = decisions.approval_lines(listed)
    _, differences = folder.complete(sources)
    assert "made-up is recorded nowhere" in str(differences[0])


def test_approval_that_the_operator_counted_wrongly_is_counted_again() -> None:
    """A ledger whose operator took one approval for a quorum."""
    alone = Released()
    approved = alone.records.pop()
    uid = "bbbb0000-1111-2222-3333-444455556666"
    last = alone.records[-1]
    payload = {**approved.payload, "approvals": uid}
    alone.records.append(relink(approved.model_copy(update={"payload": payload}), last))
    _, differences = folder.complete(alone.sources())
    assert [str(one) for one in differences] == [
        "ledger-extract.jsonl: audit-0000000008 says there was a quorum; counted again it is Waiting, 1 of role "
        "compliance missing"
    ]


def test_release_that_lost_an_approval_and_got_another_fits() -> None:
    later = Released()
    later.decide("ravi", "ravi-takes-back", decision="Withdraw", reason="the wrong report was read")
    assert later.settle() == "PendingApproval"
    later.decide("rita", "rita-approves")
    assert later.settle() == "Approved"
    later.decide("cora", "cora-revokes", decision="Revoke", reason="wrong answers in production")
    assert later.settle() == "Revoked"
    report = folder.verify(later.files(), later.noted())
    assert report.differences == ()
    assert [one.type for one in later.records][-1] == "ReleaseRevoked"


@pytest.fixture
def overridden() -> Released:
    """A release that dora had served before two people approved it."""
    made = Released()
    made.world["ApprovalPolicy"]["spec"]["breakGlass"] = {"role": "break-glass", "groups": ["duty"], "maxSeconds": 3600}
    made.ask_again()
    made.override()
    assert made.settle() == "Overridden"
    made.agree()
    assert made.settle() == "Approved"
    return made


def test_release_that_was_overridden_fits_and_its_page_begins_with_it(overridden: Released) -> None:
    files = overridden.files()
    assert folder.verify(files, overridden.noted()).differences == ()
    assert [one.type for one in overridden.records][-2:] == ["ReleaseApproved", "BreakGlassEnded"]
    page = files["approvals.md"].decode()
    head, _, rest = page.partition("## 1.")
    assert "**Break-glass**: served without `1 of role risk, 1 of role compliance`" in head
    assert "`dora (break-glass)`" in head
    assert "ended as Reviewed" in head
    assert "has the release served for a time although its quorum is missing" in rest


def test_override_that_lasted_longer_than_its_author_said_is_found(overridden: Released) -> None:
    place = next(number for number, one in enumerate(overridden.records) if one.type == "BreakGlassGranted")
    payload = {**overridden.records[place].payload, "expirationTime": "2027-01-01T00:00:00Z"}
    overridden.records[place] = overridden.records[place].model_copy(update={"payload": payload})
    sources = overridden.sources()
    sources[layout.LEDGER] = relinked(overridden.records)
    _, differences = folder.complete(sources)
    assert "says that the override ends 2027-01-01T00:00:00Z; counted again it is" in str(differences[0])


@pytest.mark.attack(42)
def test_override_by_who_asked_is_counted_again(overridden: Released) -> None:
    overridden.job["spec"]["requestedBy"] = {"username": "dora"}
    granted = next(one for one in overridden.records if one.type == "BreakGlassGranted")
    overridden.ask_again()
    overridden.override()
    assert overridden.settle() == "PendingApproval"
    digest, uid = overridden.release["status"]["releaseDigest"], overridden.approvals[-1]["metadata"]["uid"]
    payload = {**granted.payload, "releaseDigest": digest, "approvals": uid}
    forged = granted.model_copy(update={"payload": payload})
    overridden.records.append(relink(forged, overridden.records[-1]))
    _, differences = folder.complete(overridden.sources())
    assert "dora-overrides: IsRequester" in "".join(map(str, differences))


def test_approval_that_was_withdrawn_before_it_was_counted_is_found() -> None:
    later = Released()
    approved = later.records.pop()
    later.decide("ravi", "ravi-takes-back", decision="Withdraw", reason="the wrong report was read")
    assert later.settle() == "PendingApproval"
    later.records.append(relink(approved, later.records[-1]))
    _, differences = folder.complete(later.sources())
    assert "ravi-approves: Withdrawn" in str(differences[0])


def test_time_that_is_none_is_named(released: Released) -> None:
    sources = released.sources()
    timeless = [one.model_copy(update={"time": "9"}) for one in released.records]
    sources[layout.LEDGER] = relinked(timeless)
    assert "its time is not of the form" in str(folder.complete(sources)[1][0])
    sources = released.sources()
    sources[layout.APPROVALS] = sources[layout.APPROVALS].replace(b"2026-11-24T12:00:00Z", b"9")
    assert "creationTimestamp is no time" in str(folder.complete(sources)[1][0])


def test_requester_who_was_counted_is_found() -> None:
    mine = Released()
    mine.job["spec"]["requestedBy"] = {"username": "ravi"}
    mine.start_again("PendingApproval")
    forged = {
        "releaseDigest": mine.release["status"]["releaseDigest"],
        "approvals": ",".join(sorted(one["metadata"]["uid"] for one in mine.approvals[-2:])),
        "approvers": "ravi (risk), cora (compliance)",
    }
    template = mine.records[-1].model_copy(update={"type": "ReleaseApproved", "payload": forged})
    mine.records.append(relink(template, mine.records[-1]))
    _, differences = folder.complete(mine.sources())
    assert "ravi-approves: IsRequester" in str(differences[0])


@pytest.fixture(scope="module")
def identified() -> Released:
    return identified_release()


def test_humans_and_their_sign_ins_are_shown_and_counted_again(identified: Released) -> None:
    files = identified.files()
    assert named(files, identified.noted()) == []
    page = files["approvals.md"].decode()
    assert "- Person: `E-3`\n- Signed in: `2026-11-24T11:30:00Z`" in page


def test_person_id_or_auth_time_that_was_altered_is_not_what_the_ledger_recorded(identified: Released) -> None:
    for old, new in ((b"E-3", b"E-5"), (b"2026-11-24T11:30:00Z", b"2026-11-24T11:30:01Z"), (b',"personId":"E-3"', b"")):
        files = identified.files()
        assert old in files[layout.APPROVALS], files[layout.APPROVALS]
        files[layout.APPROVALS] = files[layout.APPROVALS].replace(old, new)
        forgery.fit_the_index(files)
        assert layout.APPROVALS in named(files, Noted())


def test_two_accounts_of_one_person_that_were_counted_as_two_are_found() -> None:
    found = Released()
    found.humans = {"erin": "E-1", "rita": "E-2", "ravi": "E-3", "cora": "E-3"}
    found.start_again("PendingApproval")
    uids = sorted(one["metadata"]["uid"] for one in found.approvals[-2:])
    payload = {"approvals": ",".join(uids), "releaseDigest": found.noted().digest, "approvers": "ravi (risk), cora"}
    template = found.records[-1].model_copy(update={"type": "ReleaseApproved", "payload": payload})
    found.records.append(relink(template, found.records[-1]))
    _, differences = folder.complete(found.sources())
    assert "ravi-approves: SamePerson" in str(differences[0])


def test_person_id_alone_and_an_empty_auth_time_are_covered_too(released: Released) -> None:
    known = Approval.model_validate(released.approvals[-1])
    humans = [known.spec.approver.model_copy(update={"person_id": human}) for human in (None, "E-3", "E-5")]
    named_so = [known.model_copy(update={"spec": known.spec.model_copy(update={"approver": one})}) for one in humans]
    assert len({approval_digest(one) for one in named_so}) == 3
    files = released.files()
    files[layout.APPROVALS] = files[layout.APPROVALS].replace(b'"approver":{', b'"approver":{"authTime":"",')
    forgery.fit_the_index(files)
    assert layout.APPROVALS in named(files, Noted())


def test_waiver_that_an_unknown_human_gave_is_counted_again() -> None:
    found = identified_release()
    del found.humans["rita"]
    found.start_again()
    _, differences = folder.complete(found.sources())
    assert "rita-waives: NoPersonId" in str(differences[0])


def test_waiver_that_was_never_granted_is_named(released: Released) -> None:
    sources = released.sources()
    kept = [one for one in released.records if one.type != "WaiverGranted"]
    sources[layout.LEDGER] = relinked(kept)
    _, differences = folder.complete(sources)
    assert "was granted" in str(differences[0])


def test_results_that_speak_of_other_data_are_named_though_every_digest_fits(released: Released) -> None:
    other = Released(key=None)
    data = json.loads(other.documents.contents["data-statement"])
    assert data["rows"] == 267
    other.job["status"]["dataset"]["rows"] = 300
    other.start_again()
    _, differences = folder.complete(other.sources())
    assert [str(one) for one in differences] == [
        "data-statement.json: the number of rows is 267, the release statement says 300"
    ]


def test_folder_of_another_version_needs_the_index_that_was_noted(released: Released) -> None:
    files = released.files()
    files["model-card.md"] += b"worded in another way\n"
    made = index.Index.model_validate_json(files[layout.INDEX])
    earlier = made.model_copy(update={"written_by": "0.0.1", "files": index.entries(files)})
    files[layout.INDEX] = earlier.content
    noted = released.noted()
    differences = folder.verify(files, noted).differences
    assert [one.file for one in differences] == [layout.INDEX]
    assert f"written by tunegate 0.0.1, this is {__version__}" in str(differences[0])
    known = Noted(noted.digest, noted.head, sha256(files[layout.INDEX]))
    assert folder.verify(files, known).differences == ()
    files["model-card.md"] += b"x"
    assert [one.file for one in folder.verify(files, known).differences] == ["model-card.md"]


@pytest.mark.parametrize(
    "line", [b"", b"[]\n", b'{"metadata": "x"}\n', b'{"metadata": {}, "spec": {"sequence": 1e400}}\n', b"\xff\n"]
)
@pytest.mark.parametrize("path", [layout.APPROVALS, layout.LEDGER, layout.STATEMENT, layout.EVALUATION, layout.ADAPTER])
def test_file_of_nonsense_is_named(released: Released, path: str, line: bytes) -> None:
    files = released.files()
    files[path] = line
    forgery.fit_the_index(files)
    assert path in named(files, Noted())


def relink(record: AuditRecordSpec, previous: AuditRecordSpec | None) -> AuditRecordSpec:
    """Return the record as the successor of ``previous``, with a hash that fits."""
    sequence, before = (previous.sequence + 1, previous.hash) if previous else (1, chain.GENESIS)
    event = sha256(f"{record.event_id} {record.type} {sequence}".encode())
    moved = record.model_copy(update={"sequence": sequence, "previous_hash": before, "event_id": event})
    return moved.model_copy(update={"hash": chain.record_hash(moved)})


def relinked(records: list[AuditRecordSpec]) -> bytes:
    """Return the file of a ledger that was chained anew."""
    made: list[AuditRecordSpec] = []
    for record in records:
        made.append(relink(record, made[-1] if made else None))
    return decisions.ledger_lines([chain.record_object(one) for one in made])
