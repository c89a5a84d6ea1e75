"""Writing configuration only when it differs: kube-proxy ends itself when its file is written, even with the same bytes."""

from __future__ import annotations

from pathlib import Path


def keep(path: Path, text: str) -> None:
    """Make the file hold this text, and leave it untouched when it does."""
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
