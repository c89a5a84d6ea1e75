"""What a serving pod has beside engine and gateway: the check of the base model, and the container that fetches adapters."""
