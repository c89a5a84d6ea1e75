"""The pods of one training meet before their processes start: all of them, or none goes on.

Kubernetes starts the pods of a Job as it finds room, so some can run while others wait for a node. The launcher would end
after a while with an error of its own; here it is known who is missing, and that nothing is wrong with the training.
Pod 0 listens where the launcher will listen afterwards, the others call it until it answers.
"""

from __future__ import annotations

import logging
import socket
import time
from contextlib import suppress
from dataclasses import dataclass

from tunegate.listening import listening_socket
from tunegate.logs import event
from tunegate_trainer.endings import PeersMissing

log = logging.getLogger(__name__)

MEETING_SECONDS = 900.0
"""How long a pod waits for the others: as long as torch's own rendezvous does."""
PAUSE_SECONDS = 1.0
"""Between two calls to a pod that does not answer yet."""
HANG_UP_SECONDS = 10.0
GO = b"go\n"
LONGEST_NAME = 16


@dataclass(frozen=True)
class Meeting:
    """Where the pods of a training meet."""

    rank: int
    nodes: int
    host: str
    port: int
    seconds: float = MEETING_SECONDS

    def wait(self) -> None:
        """Return when all pods are there. Raises ``PeersMissing``."""
        if self.nodes < 2:
            return
        deadline = time.monotonic() + self.seconds
        if self.rank == 0:
            self._gather(deadline)
        else:
            self._call(deadline)
        log.info("all pods of the training are there", extra=event("PodsMet", pods=self.nodes))

    def _gather(self, deadline: float) -> None:
        """Wait for a call of every other pod, then let all go. A pod that hangs up before is missing again."""
        there: dict[int, socket.socket] = {}
        try:
            with listening_socket(self.port) as server:
                while len(there) < self.nodes - 1:
                    self._accept(server, there, deadline)
                    for rank in [rank for rank, caller in there.items() if not _holds(caller)]:
                        there.pop(rank).close()
                for caller in there.values():
                    caller.sendall(GO)
                for caller in there.values():  # they hang up first, so that no address of this pod stays taken
                    with suppress(OSError):
                        caller.settimeout(HANG_UP_SECONDS)
                        caller.recv(1)
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise PeersMissing(f"pod 0 cannot meet the other pods at port {self.port} ({why})") from error
        finally:
            for caller in there.values():
                caller.close()

    def _accept(self, server: socket.socket, there: dict[int, socket.socket], deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise PeersMissing(self._missing(there))
        server.settimeout(min(left, PAUSE_SECONDS))
        try:
            caller, _ = server.accept()
        except TimeoutError:
            return
        caller.settimeout(PAUSE_SECONDS)
        try:
            name = caller.recv(LONGEST_NAME).strip()
        except OSError:
            name = b""
        rank = int(name) if name.isdigit() else 0
        if not 1 <= rank < self.nodes:
            caller.close()
            return
        if rank in there:
            there[rank].close()
        there[rank] = caller

    def _call(self, deadline: float) -> None:
        while (left := deadline - time.monotonic()) > 0:
            try:
                with socket.create_connection((self.host, self.port), timeout=min(left, 10.0)) as caller:
                    caller.sendall(f"{self.rank}\n".encode())
                    caller.settimeout(left)
                    if caller.recv(len(GO)) == GO:
                        return
            except OSError as error:
                log.debug("pod 0 does not answer: %s", type(error).__name__)
            time.sleep(min(PAUSE_SECONDS, max(0.0, deadline - time.monotonic())))
        raise PeersMissing(
            f"pod {self.rank} of {self.nodes} waited {self.seconds:.0f} s at {self.host}:{self.port}: not all pods of the training came"
        )

    def _missing(self, there: dict[int, socket.socket]) -> str:
        absent = [str(rank) for rank in range(1, self.nodes) if rank not in there]
        return f"{len(there) + 1} of {self.nodes} pods of the training met within {self.seconds:.0f} s; missing: pod {', '.join(absent)}"


def _holds(caller: socket.socket) -> bool:
    """Tell whether the other end is still there."""
    caller.setblocking(False)
    try:
        return bool(caller.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        caller.setblocking(True)
