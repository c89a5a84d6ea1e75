"""Safetensors files, read by their header: is the file whole, and which tensors does it hold?

Trainer and engine read the weights with the safetensors library, which ends the process when a file is not what its header
says. Looking at the header first tells which file is broken, before any time on a device is spent.
Source: the safetensors format (8 bytes little-endian length, then JSON of name to dtype, shape, data_offsets).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from tunegate.regular_files import NotRegular, open_regular

MAX_HEADER_BYTES = 100_000_000
"""The library's own bound."""
BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
"""Bits of one element by data type."""
POINTER = b"version https://git-lfs"
"""How a file begins that only says where Git LFS keeps the true one."""


class BrokenFile(Exception):
    """The file is not a whole safetensors file; the message names it and says what is wrong."""


@dataclass(frozen=True)
class Tensor:
    """What a header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


def read_header(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file without reading its weights. Raises ``BrokenFile``."""
    try:
        with open_regular(path) as stream:
            begin = stream.read(8)
            if begin and POINTER.startswith(begin):
                raise BrokenFile(
                    f"{path.name}: a Git LFS pointer, not the weights: run `git lfs pull` where it comes from"
                )
            length = struct.unpack("<Q", begin)[0] if len(begin) == 8 else 0
            if not 2 <= length <= MAX_HEADER_BYTES:
                raise BrokenFile(f"{path.name}: not a safetensors file")
            header = json.loads(stream.read(length))
        held = path.stat().st_size - 8 - length
    except NotRegular as error:
        raise BrokenFile(f"{path.name}: not a regular file") from error
    except OSError as error:
        raise BrokenFile(f"{path.name}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise BrokenFile(f"{path.name}: not a safetensors file, or cut short in its header") from error
    if not isinstance(header, dict):
        raise BrokenFile(f"{path.name}: not a safetensors file")
    header.pop("__metadata__", None)
    return _checked(path.name, header, held)


def _checked(file: str, header: Mapping[str, object], held: int) -> dict[str, Tensor]:
    """Return the tensors of a header whose file has ``held`` bytes after it."""
    tensors, spans = {}, []
    for name, entry in header.items():
        found = _tensor(entry)
        if found is None:
            raise BrokenFile(f"{file}: its header describes a tensor in no known way")
        tensors[name], span = found
        spans.append(span)
    end = 0
    for start, stop in sorted(spans):
        if start != end:
            raise BrokenFile(f"{file}: its tensors overlap or leave gaps")
        end = stop
    if held != end:
        how = "cut short" if held < end else "too long"
        raise BrokenFile(f"{file}: {how}: it has {held} bytes of weights, its header names {end}. Copy it again")
    return tensors


def _tensor(entry: object) -> tuple[Tensor, tuple[int, int]] | None:
    if not isinstance(entry, dict):
        return None
    dtype, shape, span = entry.get("dtype"), _naturals(entry.get("shape")), _naturals(entry.get("data_offsets"))
    if not isinstance(dtype, str) or dtype not in BITS or shape is None or span is None or len(span) != 2:
        return None
    tensor = Tensor(dtype, tuple(shape))
    return (tensor, (span[0], span[1])) if 8 * (span[1] - span[0]) == tensor.size * BITS[dtype] else None


def _naturals(values: object) -> list[int] | None:
    if isinstance(values, list) and all(type(value) is int and value >= 0 for value in values):
        return values
    return None
