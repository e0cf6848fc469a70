"""The farm's figures for Prometheus: where they are kept, how they are counted, and what they are called."""
