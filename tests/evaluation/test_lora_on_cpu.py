"""The CPU image's own operations for adapters give what multiplying row by row gives, and nothing to rows without an adapter."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.model


@pytest.mark.parametrize("slots", [[0, -1, 1, 1, -1, 0], [1] * 6, [-1] * 6], ids=["mixed", "one adapter", "none"])
def test_each_row_gets_its_own_adapter(slots: list[int]) -> None:
    import torch
    from vllm.lora.ops.torch_ops import lora_ops

    torch.manual_seed(3)
    inputs, shrinking, expanding = torch.randn(6, 32), torch.randn(2, 1, 8, 32), torch.randn(2, 1, 16, 8)
    indices = torch.tensor(slots)
    small = torch.zeros(6, 8)
    lora_ops.bgmv_shrink(inputs, shrinking, small, indices, 0.5)
    base = torch.randn(6, 40)
    whole, part = base.clone(), base.clone()
    lora_ops.bgmv_expand(small, expanding, whole, indices, add_inputs=True)
    lora_ops.bgmv_expand_slice(small, expanding, part, indices, 20, 16, add_inputs=True)
    for row, slot in enumerate(slots):
        added = torch.zeros(16) if slot < 0 else 0.5 * inputs[row] @ shrinking[slot, 0].T @ expanding[slot, 0].T
        assert torch.allclose(whole[row, :16] - base[row, :16], added, atol=1e-4)
        assert torch.allclose(part[row, 20:36] - base[row, 20:36], added, atol=1e-4)
        assert torch.equal(whole[row, 16:], base[row, 16:])
        assert torch.equal(part[row, :20], base[row, :20])
        if slot < 0:
            assert torch.equal(whole[row], base[row])


def test_rows_of_a_prompt_are_taken_together() -> None:
    """The prefill's form names a slot for a run of rows."""
    import torch
    from vllm.lora.ops.torch_ops import lora_ops

    torch.manual_seed(3)
    inputs, weights = torch.randn(5, 32), torch.randn(2, 1, 8, 32)
    small = torch.zeros(5, 8)
    starts, lengths, slots = torch.tensor([0, 2]), torch.tensor([2, 3]), torch.tensor([-1, 1])
    lora_ops.sgmv_shrink(inputs, weights, small, starts, lengths, slots, 2, 3, 5, 1.0)
    assert torch.equal(small[:2], torch.zeros(2, 8))
    assert torch.allclose(small[2:], inputs[2:] @ weights[1, 0].T, atol=1e-4)


def test_rows_that_are_not_those_of_the_batch_get_nothing_and_end_nothing() -> None:
    """The output layer is asked for a prompt's rows while three requests are in the batch."""
    import torch
    from vllm.lora.ops.torch_ops import lora_ops

    slots, none = torch.tensor([0, -1, 1]), torch.zeros(2, 1, 8, 32)
    for rows in (1, 2, 40):
        small = torch.ones(rows, 8)
        lora_ops.bgmv_shrink(torch.randn(rows, 32), none, small, slots, 1.0)
        assert torch.equal(small, torch.zeros(rows, 8))
        logits = torch.randn(rows, 64)
        before = logits.clone()
        lora_ops.bgmv_expand(small, torch.zeros(2, 1, 64, 8), logits, slots, add_inputs=True)
        assert torch.equal(logits, before)
    with pytest.raises(RuntimeError, match="output layer"):
        lora_ops.bgmv_shrink(torch.randn(40, 32), none + 1, torch.zeros(40, 8), slots, 1.0)
