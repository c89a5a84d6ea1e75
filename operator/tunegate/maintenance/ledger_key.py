"""`python -m tunegate.maintenance.ledger_key`: the public half of the key that signs checkpoints and evidence, for auditors.

Run in the operator's pod, which alone holds the private half.
"""

from __future__ import annotations

import sys

from tunegate import settings
from tunegate.ledger.seal import KeyRing


def main() -> int:
    """Print the public key as PEM on standard output and its id on standard error; 1 when there is no key."""
    folder = settings.from_environment().ledger_keys
    if folder is None:
        print("this operator signs no checkpoints: TUNEGATE_LEDGER_KEYS is not set", file=sys.stderr)
        return 1
    public = KeyRing.from_folder(folder).key.public
    sys.stdout.write(public.pem)
    print(f"key {public.id}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
