"""`accelerate launch` in a process of ours, so that libraries keep to themselves what ``tunegate_trainer.training`` names as unused."""

from __future__ import annotations

from accelerate.commands.launch import main

if __name__ == "__main__":
    main()
