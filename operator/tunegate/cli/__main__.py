"""`python -m tunegate.cli`."""

from __future__ import annotations

import sys

from tunegate.cli.start import main

# Signing starts a process that imports this file once more.
if __name__ == "__main__":
    sys.exit(main())
