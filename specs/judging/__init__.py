"""The statistics that decide whether a measurement reproduces a claim, and when a run has seen enough."""
