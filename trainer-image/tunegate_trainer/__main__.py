"""Entry point of every stage pod.

The kernel ignores SIGTERM for process 1 of a container until there is a handler. So it comes before the libraries, which
take seconds: a pod that is deleted meanwhile would otherwise live on for all its grace.
"""

import os
import signal
import sys
from types import FrameType


def _leave(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _leave)
    from tunegate_trainer.entry import main

    sys.exit(main())
