"""What makes the operator a running process: queue, health, logs, metrics, wiring."""
