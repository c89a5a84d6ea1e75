"""`python -m tunegate.cli`."""

from __future__ import annotations

import sys

from tunegate.cli.main import main

sys.exit(main())
