"""The farm's API: what it knows, as JSON. Reading changes nothing."""
