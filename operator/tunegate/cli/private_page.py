"""An address that goes to a browser by a file of the person's own: everybody on a machine can read the words of a command."""

from __future__ import annotations

import html
import json
import os
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SNAPS = Path("/snap")
PAGE = """<!doctype html>
<meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>tunegate</title>
<script>location.replace({script})</script>
<noscript><meta http-equiv="refresh" content="0;url={address}"></noscript>
"""


@contextmanager
def opened(address: str) -> Iterator[None]:
    """Open a browser at an address; the file that leads there is kept until the block ends.

    A browser that shows pages in the terminal holds up only itself.
    """
    with tempfile.TemporaryDirectory(prefix="tunegate-", dir=_parent()) as folder:  # for its owner only
        page = Path(folder) / "open.html"
        script = json.dumps(address).replace("<", "\\u003c")
        page.write_text(PAGE.format(script=script, address=html.escape(address)))
        threading.Thread(target=webbrowser.open, args=(page.as_uri(),), daemon=True).start()
        yield


def _parent() -> Path | None:
    """Return where the folder goes. A browser from snap sees neither `/tmp` nor what is hidden in the home."""
    home = Path.home()
    return home if SNAPS.is_dir() and os.access(home, os.W_OK) else None
