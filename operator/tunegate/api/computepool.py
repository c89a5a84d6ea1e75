"""ComputePool: nodes to train on, what their devices hold and what they cost."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tunegate.api.markers import (
    LIST_ATOMIC,
    LIST_SET,
    ApiModel,
    Column,
    DataClass,
    Kind,
    Names,
    Quantity,
    Resource,
    ShortText,
    Time,
    list_map,
    reason_column,
)
from tunegate.api.numbers import Amount, PlainDecimal
from tunegate.api.shared import MethodType, Resources, StatusBase, Toleration


class ComputePoolSpec(ApiModel):
    """How to reach the nodes and what to expect of them."""

    node_selector: Annotated[
        dict[Annotated[str, Field(max_length=317)], Annotated[str, Field(max_length=63)]], Field(max_length=16)
    ] = {}
    tolerations: Annotated[list[Toleration], Field(max_length=16, json_schema_extra=LIST_ATOMIC)] = []
    device_resource: Annotated[str, Field(max_length=253, pattern=r"^[a-z0-9.-]+/[a-zA-Z0-9._-]+$")] | None = None
    """Extended resource of the accelerator, e.g. `nvidia.com/gpu`; absent: training runs on CPUs."""
    devices_per_node: Annotated[int, Field(ge=1, le=64)] = 1
    device_memory: Quantity
    """Memory of one device; for a CPU pool, the memory that one training process may use."""
    max_nodes: Annotated[int, Field(ge=1, le=1024)] = 1
    """Largest `numNodes` of a job."""
    stage_resources: Resources = Resources()
    """CPU and memory of a stage pod."""
    price_per_device_hour: Amount = "0"
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", max_length=3)] = "USD"
    throughput: Amount
    """Training tokens per second of one device, for a model of one billion parameters. A first guess: estimates use
    `status.throughputs` as soon as two trainings with a job's method have ended here."""
    cleared_for: Annotated[list[DataClass], Field(min_length=1, max_length=5, json_schema_extra=LIST_SET)]


class MeasuredRun(ApiModel):
    """The throughput of one finished training."""

    job_uid: ShortText
    time: Time
    """When the training ended."""
    value: PlainDecimal


class Throughput(ApiModel):
    """What trainings with one method reached, in the unit of `spec.throughput`."""

    method: MethodType
    runs: int
    """Trainings that were measured, also those that are no longer in `recent`."""
    last: PlainDecimal
    median: PlainDecimal
    """Median of `recent`: one slow or odd training does not move it."""
    recent: Annotated[list[MeasuredRun], Field(max_length=15, json_schema_extra=list_map("jobUid"))]
    """The latest of them, oldest first."""


class ComputePoolStatus(StatusBase):
    """Whether nodes of the pool exist, and how fast they proved to be."""

    phase: Literal["Ready", "Empty"] = "Empty"
    nodes: int = 0
    devices: int = 0
    throughputs: Annotated[list[Throughput], Field(max_length=2, json_schema_extra=list_map("method"))] = []


class ComputePool(Resource):
    """A pool of nodes for training and evaluation."""

    KIND: ClassVar[Kind] = Kind(
        "ComputePool",
        "computepools",
        ("cpool",),
        "Cluster",
        (
            Column("Phase", ".status.phase"),
            reason_column("Ready"),
            Column("Nodes", ".status.nodes", "integer"),
            Column("Device", ".spec.deviceResource"),
            Column("Memory", ".spec.deviceMemory"),
            Column("Price", ".spec.pricePerDeviceHour", wide=True),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
        Names("is the value of labels and metrics"),
    )

    spec: ComputePoolSpec
    status: ComputePoolStatus = ComputePoolStatus()


def memory_bytes(quantity: str) -> int:
    """Return a Kubernetes quantity of memory in bytes.

    Source: the quantity grammar of `k8s.io/apimachinery/pkg/api/resource`.
    """
    factors = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
    for suffix in sorted(factors, key=len, reverse=True):
        if quantity.endswith(suffix):
            return int(float(quantity.removesuffix(suffix)) * factors[suffix])
    if quantity.endswith("m"):
        return int(float(quantity.removesuffix("m")) / 1000)
    return int(float(quantity))
