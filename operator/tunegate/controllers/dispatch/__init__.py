"""Which events and clock ticks lead to which reconcile."""
