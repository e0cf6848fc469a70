"""The control worker: what the control plane does by the clock, at a worker's word, and at its own."""
