"""Appended to vLLM's `vllm/lora/ops/torch_ops/lora_ops.py` in the CPU image (`prepare_cpu_image.py`); the definitions here replace
those of the same name above.

vLLM 0.32 indexes the adapters' weights with a row's slot. Slot -1 means "no adapter", but in PyTorch it means the *last* slot:
in a batch that also holds an adapter's rows, and with every slot filled, the base model's rows got the last adapter. Its weights
are also copied for every token, which takes half of an answer's time. Here each adapter is multiplied once with the rows that
belong to it, and rows without an adapter get zeros.

A request for the log-probabilities of its prompt asks the output layer for rows that are not those of the batch, while the slots are:
beside another request vLLM 0.32 ends at that. An adapter has nothing at the output layer (`tunegate.adapter_rules` lets no other in),
so such rows get zeros, and an adapter that has something there is an error.
"""

import torch


def _rows_times_adapters(
    inputs: torch.Tensor, weights: torch.Tensor, slots: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """Return (rows, outputs): each row of ``inputs`` times the weights (outputs, inputs) of its slot, zeros for slot -1."""
    if weights.dim() == 4:
        weights = weights.squeeze(dim=1)
    rows = max(inputs.shape[0], slots.shape[0])
    if not torch.compiler.is_compiling() and slots.shape[0] not in (1, inputs.shape[0]):
        if bool(weights.any()):
            raise RuntimeError(
                "an adapter with weights at the output layer cannot be asked for log-probabilities of a prompt"
            )
        return torch.zeros((inputs.shape[0], weights.shape[-2]), dtype=dtype, device=inputs.device)
    inputs = inputs.to(dtype=dtype).expand(rows, -1)
    slots = slots.expand(rows)
    if torch.compiler.is_compiling():
        chosen = weights[slots.clamp(min=0)].to(dtype=dtype)
        return torch.einsum("bi,boi->bo", inputs, chosen) * (slots >= 0).unsqueeze(-1)
    first = int(slots[0]) if rows else -1
    if first >= 0 and bool((slots == first).all()):
        return inputs @ weights[first].to(dtype=dtype).T
    outputs = torch.zeros((rows, weights.shape[-2]), dtype=dtype, device=inputs.device)
    for slot in torch.unique(slots).tolist():
        if slot >= 0:
            own = slots == slot
            outputs[own] = inputs[own] @ weights[slot].to(dtype=dtype).T
    return outputs


def bgmv_shrink(
    inputs: torch.Tensor,
    lora_b_weights: torch.Tensor,
    output_tensor: torch.Tensor,
    lora_indices_tensor: torch.Tensor,
    scaling: float = 1.0,
):
    outputs = _rows_times_adapters(inputs, lora_b_weights, lora_indices_tensor, output_tensor.dtype)
    output_tensor[:, : outputs.shape[1]] = scaling * outputs


def bgmv_expand(
    inputs: torch.Tensor,
    lora_b_weights: torch.Tensor,
    output_tensor: torch.Tensor,
    lora_indices_tensor: torch.Tensor,
    add_inputs: bool = True,
):
    outputs = _rows_times_adapters(inputs, lora_b_weights, lora_indices_tensor, output_tensor.dtype)
    # Adapter and model may pad the output differently.
    columns = min(outputs.shape[1], output_tensor.shape[1])
    if add_inputs:
        output_tensor[:, :columns] += outputs[:, :columns]
    else:
        output_tensor[:, :columns] = outputs[:, :columns]


def bgmv_expand_slice(
    inputs: torch.Tensor,
    lora_b_weights: torch.Tensor,
    output_tensor: torch.Tensor,
    lora_indices_tensor: torch.Tensor,
    slice_offset: int,
    slice_size: int,
    add_inputs: bool = True,
):
    outputs = _rows_times_adapters(inputs, lora_b_weights, lora_indices_tensor, output_tensor.dtype)
    if add_inputs:
        output_tensor[:, slice_offset : slice_offset + slice_size] += outputs
    else:
        output_tensor[:, slice_offset : slice_offset + slice_size] = outputs
