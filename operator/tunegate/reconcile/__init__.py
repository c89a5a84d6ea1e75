"""Pure planners: what was observed goes in, a plan comes out. No I/O, no logging, no clock of their own."""
