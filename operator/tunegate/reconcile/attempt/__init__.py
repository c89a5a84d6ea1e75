"""What jobs and base models share: one attempt of a stage, its pods and how it ended."""
