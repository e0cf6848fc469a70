"""A whole farm on one machine: its processes, each told only what it needs."""
