"""An adapter tuned elsewhere enters at validate and is sealed like our own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.small_adapter import write_adapter
from tests.support.stage_process import Pod, stage_base
from tests.support.validation import ROWS, make_config
from tunegate.api.stage.configs import SealConfig
from tunegate.api.stage.ends import ExitCode
from tunegate.api.stage.results import SealResult, ValidateResult

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]


def check(pod: Pod, base_model: Path, adapter: Path) -> ValidateResult:
    """Run validate for a job with `source: Import`."""
    config = make_config(pod.folder, base_model, ROWS, import_path=str(adapter))
    ending = pod.run(config.model_copy(update=stage_base(pod.host)))
    assert isinstance(ending.result, ValidateResult), ending.log
    return ending.result


def test_an_adapter_that_fits_passes_at_no_cost_and_is_sealed(pod: Pod, base_model: Path) -> None:
    adapter = write_adapter(pod.folder / "imported", base_model, rank=8)

    result = check(pod, base_model, adapter)
    assert result.inputs.adapter is not None, "what is sealed has to be what was validated"
    sealed = pod.run(
        SealConfig(
            **stage_base(pod.host),
            source_path=str(adapter),
            source_digest=result.inputs.adapter,
            base_model_name="smollm2",
            max_lora_rank=16,
        )
    )

    assert (result.outcome, result.device_hours, result.cost, result.throughput) == ("Passed", 0, 0, None)
    assert result.trainable_parameters > 0
    assert sealed.exit_code == ExitCode.VERDICT, sealed.log
    assert isinstance(sealed.result, SealResult)
    assert (sealed.result.outcome, sealed.result.rank) == ("Passed", 8)


@pytest.mark.parametrize(("change", "named"), [({"use_dora": True}, "Unsupported"), ({"r": 64}, "Rank")])
def test_what_the_profile_could_not_load_is_refused(
    pod: Pod, base_model: Path, change: dict[str, object], named: str
) -> None:
    adapter = write_adapter(pod.folder / "imported", base_model, rank=8)
    configuration = adapter / "adapter_config.json"
    configuration.write_text(json.dumps({**json.loads(configuration.read_text()), **change}))

    result = check(pod, base_model, adapter)

    assert result.outcome == "Refused"
    assert named in {finding.check for finding in result.findings if finding.action == "Block"}
