"""Looks at the database that many callers share: what changed, and what need not be worked out again."""
