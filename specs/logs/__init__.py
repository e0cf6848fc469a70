"""Inspect's logs, read within limits: of the farm's own runs, and those that claims link to."""
