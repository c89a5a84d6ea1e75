"""Controllers: observe live, let the pure planner decide, act in one place."""
