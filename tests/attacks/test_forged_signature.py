"""An administrator of the cluster approves in a reviewer's name: what the reviewer's own key shows, in the cluster and offline."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.approvers import signed, signer
from tests.support.governed_namespace import Json, World
from tests.support.ledgers import new_key
from tests.support.released_adapter import Released
from tests.support.signed_release import KEYS, SignedRelease, write_files, write_keys
from tunegate.api.approval import Approval
from tunegate.api.approvalpolicy import ApprovalRole
from tunegate.cli.main import main
from tunegate.reconcile.approvals import votes
from tunegate.release.ballot import Question, Verdict
from tunegate.release.counting import count

RAVI = KEYS["ravi"]


def counted(approval: Json) -> Verdict:
    """Count one approval as the operator would, for a role that takes ravi's signature."""
    role: Json = {"name": "risk", "groups": ["tunegate:model-risk"], "signers": [signer("ravi", RAVI.public)]}
    made = Approval.model_validate(approval)
    roles = (ApprovalRole.model_validate(role),)
    asked = Question(made.spec.subject_ref.uid, made.spec.subject_digest, frozenset(), roles, timedelta(days=1))
    return count(asked, votes([made], roles, frozenset({made.uid}), ()), datetime.now(UTC))


@pytest.mark.cluster
@pytest.mark.attack(6)
def test_an_approval_by_impersonation_is_admitted_but_lacks_the_signature(world: World) -> None:
    """The API server believes the impersonator. He has no key of ravi, and one of his own does not help him."""

    def impersonate(approval: Json) -> Json:
        groups = ("tunegate:model-risk", "system:authenticated")
        made = world.create("admin", approval, dry_run=False, as_="ravi", groups=groups).passes()
        name = made.out.split()[0].partition("/")[2]
        return dict(
            json.loads(world.kubectl("admin", "get", "approval", name, "-n", world.namespace, "-o", "json").out)
        )

    assert [one.reason for one in counted(impersonate(world.approval())).dropped] == ["NotSigned"]
    assert [one.reason for one in counted(impersonate(signed(world.approval(), new_key()))).dropped] == ["BadSignature"]
    assert counted(impersonate(signed(world.approval(), RAVI))).outcome == "Quorum"


def verify(tmp_path: Path, forged: Released) -> int:
    folder = write_files(tmp_path / "folder", forged.files())
    noted = forged.noted()
    whole = ["evidence", "verify", str(folder), "--digest", str(noted.digest), "--head", str(noted.head)]
    assert main(whole) == 0, "everything in the cluster was made to fit"
    return main([*whole, "--approver-keys", str(write_keys(tmp_path / "keys"))])


@pytest.mark.attack(6, 38)
def test_approvals_in_others_names_are_found_offline_though_all_records_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The policy asks for no signatures, or was made to: objects, ledger and statement tell one story."""
    assert verify(tmp_path, Released()) == 1
    assert "ravi-approves was counted, but ravi did not sign it" in capsys.readouterr().out


@pytest.mark.attack(38)
def test_a_policy_with_keys_of_the_forgers_own_is_found_offline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = SignedRelease({name: new_key() for name in KEYS})
    assert verify(tmp_path, forged) == 1
    assert "no key that you gave of ravi signed it" in capsys.readouterr().out


@pytest.mark.attack(38)
def test_one_forged_approval_among_genuine_ones_is_found_offline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everybody but ravi signed with a key that the auditor knows."""
    assert verify(tmp_path, SignedRelease({**KEYS, "ravi": new_key()})) == 1
    shown = capsys.readouterr().out
    assert "ravi-approves was counted" in shown
    assert "1 difference" in shown
