"""Which part of an object a field manager applied: so that nothing is written that is there already.

The API server keeps, per manager, the set of fields of its last apply (``metadata.managedFields``). What those fields
hold now is exactly what a new apply has to be compared with: other managers' fields and server-side defaults stay out.
Format: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management (FieldsV1).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def applied(obj: Mapping[str, Any], manager: str, subresource: str) -> Any:
    """Return the part of ``obj[subresource]`` that ``manager`` applied through ``/subresource``; None if it never did."""
    for entry in obj["metadata"].get("managedFields") or []:
        if (
            entry.get("manager") == manager
            and entry.get("operation") == "Apply"
            and entry.get("subresource", "") == subresource
        ):
            fields = entry.get("fieldsV1", {}).get(f"f:{subresource}")
            return None if fields is None else _part(obj.get(subresource), fields)
    return None


def same(one: Any, other: Any) -> bool:
    """Tell whether two applied parts say the same. Empty lists and objects count as absent: no field set holds them."""
    return bool(_bare(one) == _bare(other))


def _bare(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: bare for key, item in value.items() if (bare := _bare(item)) not in ({}, [])}
    return [_bare(item) for item in value] if isinstance(value, list | tuple) else value


def _part(value: Any, fields: Mapping[str, Any]) -> Any:
    """Return what of ``value`` the field set covers. An empty set is a leaf: the value as a whole."""
    inner = {key: sub for key, sub in fields.items() if key != "."}
    if not inner:
        return value if "." not in fields else type(value)() if isinstance(value, dict | list) else value
    if isinstance(value, dict):
        names = {key.removeprefix("f:"): sub for key, sub in inner.items() if key.startswith("f:")}
        return {name: _part(value[name], sub) for name, sub in names.items() if name in value}
    if isinstance(value, list):
        return _items(value, inner)
    return value


def _items(items: list[Any], fields: Mapping[str, Any]) -> list[Any]:
    """Return the covered items of a list in the list's order: `k:` selects by key fields, `v:` by value."""
    found = []
    for item in items:
        for selector, sub in fields.items():
            kind, _, text = selector.partition(":")
            wanted = json.loads(text)
            if kind == "k" and isinstance(item, dict) and all(item.get(k) == v for k, v in wanted.items()):
                found.append(_part(item, sub))
            elif kind == "v" and item == wanted:
                found.append(item)
    return found
