"""A real time stamping authority (`openssl ts`) behind a small HTTP server."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CONFIGURATION = """
[tsa]
default_tsa = site
[site]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
ess_cert_id_alg = sha256
[dn]
[stamping]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
"""


@dataclass
class Authority:
    """``answer``: what it says instead of a stamp, status and body; None: it stamps."""

    url: str
    root: Path
    """Certificate above its own."""
    chain: Path
    """Its own and the one above."""
    answer: tuple[int, bytes] | None = None
    asked: list[bytes] = field(default_factory=list)


def _certificates(folder: Path) -> None:
    configuration = folder / "openssl.cnf"
    configuration.write_text(CONFIGURATION.format(folder=folder))
    (folder / "serial").write_text("01\n")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    request = ["req", "-config", str(configuration), "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl(
        *request,
        "-x509",
        "-days",
        "30",
        "-subj",
        "/CN=Site CA",
        "-extensions",
        "authority",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
    )
    openssl(*request, "-subj", "/CN=Site TSA", "-keyout", "tsa.key", "-out", "tsa.csr")
    openssl(
        "x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30",
        "-extfile", str(configuration), "-extensions", "stamping", "-out", "tsa.pem",
    )  # fmt: skip


@contextmanager
def running_authority(folder: Path) -> Iterator[Authority]:
    """Start an authority of its own in a new folder."""
    folder.mkdir()
    _certificates(folder)
    (folder / "chain.pem").write_bytes((folder / "tsa.pem").read_bytes() + (folder / "ca.pem").read_bytes())
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = self.rfile.read(int(self.headers["Content-Length"]))
            authority.asked.append(request)
            status, body = authority.answer or (200, self._stamp(request))
            self.send_response(status)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _stamp(self, request: bytes) -> bytes:
            with lock:
                (folder / "query").write_bytes(request)
                command = [
                    "openssl",
                    "ts",
                    "-reply",
                    "-config",
                    "openssl.cnf",
                    "-section",
                    "site",
                    "-queryfile",
                    "query",
                ]
                return subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    authority = Authority(f"http://127.0.0.1:{server.server_port}/tsa", folder / "ca.pem", folder / "chain.pem")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield authority
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
