"""The truth: tables, sessions and migrations."""
