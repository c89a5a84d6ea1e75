"""Programs for installation and repair: `python -m tunegate.maintenance.…`."""
