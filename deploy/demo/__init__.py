"""Seven submitted results, from a local Hub to signed badges: what `make demo` shows."""
