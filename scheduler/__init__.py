"""The control plane: watches the Hub, plans, dispatches, collects, compares, signs, publishes, serves the API."""
