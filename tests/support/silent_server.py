"""A server that takes connections and then says too little: nothing at all, or only the beginning of an answer."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

HEADERS_ONLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: 1000000\r\n\r\n"


@dataclass
class SilentServer:
    """What listens on ``host`` and how often somebody came. ``trickle``: a byte of a body every so many seconds."""

    host: str
    says: bytes = b""
    trickle: float = 0.0
    _came: threading.Condition = field(default_factory=threading.Condition)
    _connections: list[socket.socket] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many connections were taken."""
        return len(self._connections)

    def wait_for(self, count: int, seconds: float = 60.0) -> None:
        """Return once so many connections were taken."""
        with self._came:
            assert self._came.wait_for(lambda: self.count >= count, seconds), f"{self.count} of {count} came"

    def take(self, connection: socket.socket) -> None:
        """Keep the connection open and say what there is to say."""
        with self._came:
            self._connections.append(connection)
            self._came.notify_all()
        with suppress(OSError):
            if self.says:
                connection.recv(65536)
                connection.sendall(self.says)
            while self.trickle:
                connection.sendall(b"x")
                time.sleep(self.trickle)

    def close(self) -> None:
        """End all connections."""
        for connection in self._connections:
            connection.close()


@contextmanager
def silent_server(says: bytes = b"", trickle: float = 0.0) -> Iterator[SilentServer]:
    """Listen on loopback until the block ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        server = SilentServer(f"127.0.0.1:{listener.getsockname()[1]}", says, trickle)

        def listen() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=server.take, args=[connection], daemon=True).start()

        threading.Thread(target=listen, daemon=True).start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)
        server.close()
