"""The farm's API: what it knows, as JSON. It reads; nothing here writes."""
