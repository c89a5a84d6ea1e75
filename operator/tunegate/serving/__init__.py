"""What runs before the engine: pulling approved adapters and verifying every byte of them."""
