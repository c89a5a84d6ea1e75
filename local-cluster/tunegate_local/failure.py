"""The one error that this command reports: what went wrong, the last log lines, and what to do next."""

from __future__ import annotations

from pathlib import Path

LOG_LINES = 15


class Failure(Exception):
    """Something that a person has to know about or act on."""

    def __init__(self, component: str, problem: str, next_step: str, log: Path | None = None) -> None:
        super().__init__(problem)
        self.component = component
        self.problem = problem
        self.next_step = next_step
        self.log = log

    def text(self) -> str:
        lines = [f"{self.component}: {self.problem}"]
        if self.log is not None and self.log.exists():
            lines.append(f"last lines of {self.log}:")
            lines += [f"    {line}" for line in last_lines(self.log)]
        lines.append(f"next step: {self.next_step}")
        return "\n".join(lines)


def last_lines(log: Path, count: int = LOG_LINES) -> list[str]:
    """The end of a log file; reads at most its last 64 KiB."""
    with log.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 65536))
        return file.read().decode(errors="replace").splitlines()[-count:]
