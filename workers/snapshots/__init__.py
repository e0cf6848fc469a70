"""Models and datasets at a commit, on this machine's disk: fetched, checked, and given up for others."""
