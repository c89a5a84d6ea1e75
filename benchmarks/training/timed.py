"""Runs one side of the comparison in this process and writes what its training loop took.

    timed.py REPORT product RUN WORKSPACE | timed.py REPORT bare SETTINGS

The clock runs while ``Trainer.train`` does: loading libraries and the model is outside, checkpoints are inside.
"""

from __future__ import annotations

import json
import resource
import runpy
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Patch the loop with a clock, run the side, report."""
    from transformers import Trainer

    report, side, *arguments = sys.argv[1:]
    found: dict[str, Any] = {}
    train = Trainer.train

    def timed(trainer: Any, *args: Any, **kwargs: Any) -> Any:
        started, worked = time.monotonic(), time.process_time()
        result = train(trainer, *args, **kwargs)
        found["seconds"] = time.monotonic() - started
        found["cpuSeconds"] = time.process_time() - worked
        found["tokens"] = int(trainer._total_train_tokens)
        found["losses"] = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        return result

    Trainer.train = timed
    if side == "product":
        run, workspace = arguments
        from tunegate_trainer.training import worker

        sys.argv = ["worker", "--run", run, "--workspace", workspace, "--checkpoint-key", f"{run}/key"]
        code = worker.main()
        if code:
            sys.exit(code)
    else:
        sys.argv = ["bare.py", *arguments]
        runpy.run_path(str(Path(__file__).with_name("bare.py")), run_name="__main__")
    found["peakBytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    Path(report).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
