"""A batch, from its message to the report of each of its orders."""
