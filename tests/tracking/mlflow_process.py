"""A real MLflow server with users, as the chart starts it, on loopback: with TLS, in an environment of its own."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.certificates import write_localhost_certificate
from tests.support.ports import free_port
from tests.support.programs import CACHE, program

ROOT = Path(__file__).resolve().parents[2]
CHART_FILES = ROOT / "charts/tunegate/files"
PASSWORDS = {"operator": "operator-password-1", "exchange": "exchange-password"}
START_SECONDS = 180


def mlflow_environment() -> Path:
    """Return a virtual environment with the server at the lock file's versions; it is made once and kept in the cache."""
    if named := os.environ.get("TUNEGATE_MLFLOW_VENV"):
        return Path(named)
    place = CACHE / "venv-mlflow"
    command = [
        program("uv"),
        "sync",
        "--quiet",
        "--frozen",
        "--no-install-project",
        "--no-dev",
        "--extra",
        "mlflow-server",
    ]
    environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(place)}
    environment.pop("VIRTUAL_ENV", None)
    subprocess.run([*command, "--compile-bytecode"], cwd=ROOT, env=environment, check=True)
    return place


@dataclass
class MlflowServer:
    """One server and its data; it can be stopped and started again."""

    venv: Path
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def ca_file(self) -> Path:
        return self.folder / "tls.crt"

    @classmethod
    def prepare(cls, folder: Path) -> MlflowServer:
        """Make certificate, settings and users; nothing runs yet."""
        server = cls(mlflow_environment(), folder, free_port())
        write_localhost_certificate(folder)
        for name, password in PASSWORDS.items():
            (folder / "passwords").mkdir(exist_ok=True)
            (folder / "passwords" / name).write_text(password)
        (folder / "username").write_text("tunegate-operator\n")
        (folder / "password").write_text(PASSWORDS["operator"] + "\n")
        settings = (CHART_FILES / "basic_auth.ini").read_text()
        (folder / "basic_auth.ini").write_text(settings.replace("/var/lib/mlflow", str(folder)))
        server.make_users()
        return server

    def make_users(self) -> str:
        """Run the chart's script that makes users and grants; return what it printed."""
        done = subprocess.run(
            [self.venv / "bin/python", CHART_FILES / "mlflow_users.py"],
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = f"--ssl-keyfile {self.folder}/tls.key --ssl-certfile {self.folder}/tls.crt"
        command = [str(self.venv / "bin/mlflow"), "server", "--app-name=basic-auth", "--host=127.0.0.1"]
        arguments = [f"--port={self.port}", "--workers=1", "--serve-artifacts", f"--uvicorn-opts={options}"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *arguments], env=self._environment(), stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            try:
                if httpx.get(f"{self.uri}/health", verify=self._trust(), trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.3)
        raise AssertionError(f"MLflow did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        """End the server with its workers at once, as a crash would; they are in one process group that we made."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=30)
            self.process = None

    def ask(self, user: str, path: str, body: object | None = None, *, method: str = "") -> httpx.Response:
        """Send one request of the REST interface as a user (`operator` or `exchange`); POST if it has a body."""
        method = method or ("GET" if body is None else "POST")
        return self.request(user, method, f"/api/2.0/mlflow/{path}", body)

    def request(
        self, user: str, method: str, path: str, body: object | None = None, namespaces: str | None = "*"
    ) -> httpx.Response:
        """Send one request to any address as a user; as the exchange for a person who may read ``namespaces``."""
        headers = {"X-Tunegate-Namespaces": namespaces} if user == "exchange" and namespaces is not None else {}
        with httpx.Client(auth=(f"tunegate-{user}", PASSWORDS[user]), verify=self._trust(), trust_env=False) as client:
            return client.request(method, f"{self.uri}{path}", json=body, headers=headers, timeout=60)

    def routes(self) -> list[tuple[str, str]]:
        """Return all addresses of the server's application and their methods, variables of a path filled in."""
        code = (
            "import json, os, re\nos.environ['_MLFLOW_SGI_NAME'] = 'uvicorn'\n"
            "from mlflow.server import app\nfrom mlflow.server.auth import create_app\nwhole = create_app(app)\n"
            "found = [(r.rule, m) for r in app.url_map.iter_rules() for m in r.methods]\n"
            "found += [(r.path, m) for r in whole.routes for m in getattr(r, 'methods', None) or ()]\n"
            "print(json.dumps([(re.sub(r'[<{][^>}]*[>}]', 'x', path), m) for path, m in found]))"
        )
        done = subprocess.run(
            [self.venv / "bin/python", "-c", code], env=self._environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return sorted({(path, method) for path, method in json.loads(done.stdout.splitlines()[-1])})

    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.venv}/bin:/usr/bin:/bin",
            "HOME": str(self.folder),
            "MLFLOW_AUTH_CONFIG_PATH": f"{self.folder}/basic_auth.ini",
            "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{self.folder}/tracking.db",
            "MLFLOW_ARTIFACTS_DESTINATION": f"{self.folder}/artifacts",
            "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORDS["operator"],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "for this test",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ALLOWED_HOSTS": "localhost:*",
            "PYTHONWARNINGS": "ignore",
            "TUNEGATE_PASSWORDS": f"{self.folder}/passwords",
            "PYTHONPATH": str(CHART_FILES),
            "PYTHONDONTWRITEBYTECODE": "1",
            "MLFLOW_BASIC_AUTH_FAIL_CLOSED": "true",
        }
