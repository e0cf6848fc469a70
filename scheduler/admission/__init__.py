"""Whether a claim is run, where, when, and at what cost; and what is fixed about that before it is."""
