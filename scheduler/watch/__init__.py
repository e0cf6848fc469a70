"""Finds what is new, changed or gone on the Hub. A look costs requests for what changed, not for what exists."""
