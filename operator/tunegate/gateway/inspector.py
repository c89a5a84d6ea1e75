"""The program of one process of ``tunegate.gateway.inspection``: reads a call from its input, writes the result."""

from __future__ import annotations

import pickle
import resource
import struct
import sys
from typing import Any, BinaryIO

from tunegate.gateway.bodies import check_body
from tunegate.gateway.stream import rewrite_answer

MEMORY_BYTES = 512 * 1024 * 1024
FUNCTIONS: dict[str, Any] = {function.__name__: function for function in (check_body, rewrite_answer)}


def serve(calls: BinaryIO, results: BinaryIO) -> None:
    """Answer calls until the input ends."""
    while len(head := calls.read(4)) == 4:
        name, arguments = pickle.loads(calls.read(struct.unpack(">I", head)[0]))  # noqa: S301 - our own parent
        try:
            result = (True, FUNCTIONS[name](*arguments))
        except (MemoryError, RecursionError) as error:
            result = (False, type(error).__name__)
        message = pickle.dumps(result)
        results.write(struct.pack(">I", len(message)) + message)
        results.flush()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    serve(sys.stdin.buffer, sys.stdout.buffer)
