"""A report is held against its evidence, judges its claims, and tells how much honest re-runs differ."""
