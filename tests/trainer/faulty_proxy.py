"""A proxy that disturbs what a server on plain HTTP answers: connections that end early, stand still or crawl."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class FaultyProxy:
    """Passes connections on to ``upstream``, a port of loopback."""

    upstream: int
    cut: int = 0
    """Bytes of the answer after which the next ``faults`` connections end."""
    faults: int = 0
    stalls: bool = False
    """They do not end there but stand still, until the client gives up."""
    pause: float = 0.0
    """Seconds before each piece of an answer."""
    piece: int = 65536
    """Bytes of a piece, at most."""
    seen: int = 0
    broken: int = 0
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        with suppress(OSError):  # the listener was closed: the test is over
            while True:
                client, _ = self.listener.accept()
                self.seen += 1
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        left = threading.Event()
        with client, socket.create_connection(("127.0.0.1", self.upstream)) as server:
            threading.Thread(target=_pump, args=(client, server, left), daemon=True).start()
            passed = 0
            with suppress(OSError):
                while piece := server.recv(self.piece):
                    if self.faults > 0 and passed + len(piece) > self.cut:
                        self.faults -= 1
                        self.broken += 1
                        client.sendall(piece[: max(0, self.cut - passed)])
                        if self.stalls:
                            left.wait(timeout=120)
                        # Closing alone ends nothing while the other thread still reads from it.
                        client.shutdown(socket.SHUT_RDWR)
                        return
                    time.sleep(self.pause)
                    client.sendall(piece)
                    passed += len(piece)


def _pump(source: socket.socket, target: socket.socket, left: threading.Event) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    left.set()


@contextmanager
def faulty_proxy(upstream: int) -> Iterator[FaultyProxy]:
    """Stand between a stage and a server that listens on the port ``upstream``."""
    proxy = FaultyProxy(upstream)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.listener.shutdown(socket.SHUT_RDWR)
        proxy.listener.close()
        thread.join(timeout=5)
