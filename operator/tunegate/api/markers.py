"""Base classes and schema markers from which the CRDs are generated.

Kubernetes knows schema keywords that JSON Schema does not (list types, CEL rules). A marker is a plain dict that
pydantic carries through ``json_schema_extra``; ``tunegate.api.crd`` lets exactly these through and refuses the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

GROUP = "tunegate.io"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
RESERVED = "tunegate-"
"""How the names of our objects begin, of kinds that people use too. The admission rules refuse such names to others."""
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

RULES = "x-kubernetes-validations"
ANY_OF = "x-any-of"
"""Becomes `anyOf`; that word itself is how pydantic writes unions, which have no structural schema."""
UNTYPED = "x-kubernetes-preserve-unknown-fields"


class ApiModel(BaseModel):
    """An object of the contract: camelCase outside, snake_case inside, unknown fields ignored when read.

    Reading is lenient so that an older operator survives a newer CRD; the API server refuses unknown fields.
    """

    model_config = ConfigDict(
        extra="ignore", populate_by_name=True, alias_generator=to_camel, frozen=True, use_attribute_docstrings=True
    )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form with absent optional fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class StrictModel(ApiModel):
    """A document that both sides of this repository write: an unknown field is a defect, so it is refused."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Column:
    """One ``additionalPrinterColumns`` entry; ``wide`` columns appear with ``-o wide`` only."""

    name: str
    path: str
    type: Literal["string", "integer", "date", "number", "boolean"] = "string"
    wide: bool = False


def reason_column(condition: str) -> Column:
    """Return the column that shows the reason of a condition."""
    return Column("Reason", f'.status.conditions[?(@.type=="{condition}")].reason')


@dataclass(frozen=True)
class Names:
    """What objects of a kind may be called: their names become part of other names, which are shorter or know fewer letters."""

    part_of: str
    most: int = 40
    letter_first: bool = False

    @property
    def says(self) -> str:
        """The rule in a sentence."""
        begin = "beginning with a letter" if self.letter_first else "neither beginning nor ending with a hyphen"
        return f"metadata.name may have at most {self.most} characters, lower-case letters, digits and hyphens, {begin}: it {self.part_of}"

    @property
    def rule(self) -> dict[str, str]:
        """The rule in CEL."""
        first = "[a-z]" if self.letter_first else "[a-z0-9]"
        return cel(
            f"self.metadata.name.size() <= {self.most} && self.metadata.name.matches('^{first}([-a-z0-9]*[a-z0-9])?$')",
            self.says,
        )


@dataclass(frozen=True)
class Kind:
    """What a CRD needs beside its schema."""

    kind: str
    plural: str
    short_names: tuple[str, ...]
    scope: Literal["Namespaced", "Cluster"]
    columns: tuple[Column, ...]
    names: Names
    selectable: tuple[str, ...] = ()
    """Fields by which objects can be listed: `kubectl get --field-selector`."""
    scalable: bool = False
    """Whether `kubectl scale` and autoscalers can set `spec.replicas`; status has `replicas` and `selector` then."""


class Resource(ApiModel):
    """A custom resource. Subclasses set ``KIND`` and declare ``spec`` and, where there is one, ``status``."""

    KIND: ClassVar[Kind]

    api_version: str = API_VERSION
    kind: str
    metadata: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.metadata["name"])

    @property
    def namespace(self) -> str:
        return str(self.metadata.get("namespace", ""))

    @property
    def uid(self) -> str:
        return str(self.metadata.get("uid", ""))

    @property
    def generation(self) -> int:
        return int(self.metadata.get("generation", 0))


def cel(rule: str, message: str) -> dict[str, str]:
    """Return one CEL rule for ``rules``."""
    return {"rule": rule, "message": message}


def rules(*entries: dict[str, str], any_of: Sequence[dict[str, Any]] = ()) -> ConfigDict:
    """Return a ``model_config`` that attaches CEL rules to an object.

    ``any_of`` are value validations of which one has to hold: for fields that CEL cannot read (``tunegate.api.numbers``).
    """
    extra: dict[str, Any] = {RULES: [dict(entry) for entry in entries]} if entries else {}
    return ConfigDict(json_schema_extra=extra | ({ANY_OF: list(any_of)} if any_of else {}))


def immutable(what: str) -> dict[str, str]:
    """Return the rule that an object never changes after creation."""
    return cel("self == oldSelf", f"{what} cannot change after creation: create a new object instead")


def immutable_but(mutable: Sequence[str], what: str, *entries: dict[str, str]) -> ConfigDict:
    """Return a ``model_config`` with the rule that no field but ``mutable`` changes, and with ``entries``.

    The rule is made from the fields that the model has: one that is added later cannot change either.
    """

    def attach(schema: dict[str, Any], model: type[BaseModel]) -> None:
        kept = [
            _unchanged(field.alias or name, field)
            for name, field in model.model_fields.items()
            if (field.alias or name) not in mutable
        ]
        message = f"only {' and '.join(mutable)} can change: create a new {what} instead"
        schema[RULES] = [cel(" && ".join(kept), message), *(dict(entry) for entry in entries)]

    return ConfigDict(json_schema_extra=attach)


def _unchanged(name: str, field: FieldInfo) -> str:
    same = f"self.{name} == oldSelf.{name}"
    if field.is_required() or field.default is not None:
        return same
    return f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || {same})"


def later(default: Any) -> Any:
    """Declare a field that a digested document did not have from the beginning.

    As long as it has its default it is left out where the document is written, so digests that were stored before stay what
    they are. A field whose default is None needs no such word: what is None is left out anyway.
    """
    return Field(default=default, exclude_if=lambda value: value == default)


def list_map(*keys: str) -> dict[str, Any]:
    """Mark a list whose items are told apart by the fields ``keys``."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


LIST_SET: dict[str, Any] = {"x-kubernetes-list-type": "set"}
LIST_ATOMIC: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}

# Strings with bounds; every string of the API uses one, so that CEL cost estimates stay finite.
ResourceName = Annotated[str, Field(max_length=40, min_length=1, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Digest = Annotated[str, Field(max_length=71, pattern=r"^sha256:[0-9a-f]{64}$")]
Quantity = Annotated[str, Field(max_length=20, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$")]
ShortText = Annotated[str, Field(max_length=128)]
TEXT_CHARACTERS = 1024
"""Longest ``Text``: planners cut what they say to it."""
Text = Annotated[str, Field(max_length=TEXT_CHARACTERS)]
LongText = Annotated[str, Field(max_length=8192)]
VolumeUri = Annotated[str, Field(max_length=300, pattern=r"^pvc://[a-z0-9]([-a-z0-9]*[a-z0-9])?/[A-Za-z0-9._/-]+$")]
"""``pvc://<claim>/<path>``: a file or folder on a claim of the namespace of the pod that uses it."""
ModelUri = Annotated[
    str,
    Field(
        max_length=300,
        pattern=r"^(pvc://[a-z0-9]([-a-z0-9]*[a-z0-9])?/[A-Za-z0-9._/-]+|hf://[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*(@[A-Za-z0-9._-]+)?)$",
    ),
]
"""A ``VolumeUri``, or ``hf://<organization>/<name>@<commit>``: one commit of a model that a Hub mirror holds."""
WebAddress = Annotated[
    str, Field(max_length=300, pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._/-]*)?$")
]
DataUri = Annotated[
    str,
    Field(
        max_length=600,
        pattern=r"^((pvc://[a-z0-9]([-a-z0-9]*[a-z0-9])?|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/[A-Za-z0-9._=/-]+"
        r"|oci://[a-z0-9]([-a-z0-9]*[a-z0-9])?/(datasets|documents)/[a-z0-9]([-a-z0-9]*[a-z0-9])?@sha256:[0-9a-f]{64})$",
    ),
]
"""A ``VolumeUri``, ``s3://<bucket>/<key>``: an object, or all objects below a key, or
``oci://<namespace>/datasets/<name>@sha256:<digest>``: what was pushed into the registry."""
QuestionsUri = Annotated[
    str,
    Field(
        max_length=600,
        pattern=r"^(pvc://[a-z0-9]([-a-z0-9]*[a-z0-9])?/[A-Za-z0-9._/-]+"
        r"|oci://[a-z0-9]([-a-z0-9]*[a-z0-9])?/questions/[a-z0-9]([-a-z0-9]*[a-z0-9])?@sha256:[0-9a-f]{64})$",
    ),
]
"""A ``VolumeUri``, or ``oci://<namespace>/questions/<name>@sha256:<digest>``: what `tunegate create suite` pushed into the registry."""
Day = Annotated[str, Field(max_length=10, pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]
"""``YYYY-MM-DD``, in UTC."""
Time = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]

DataClass = Literal["Public", "Internal", "Confidential", "PII", "PHI"]
