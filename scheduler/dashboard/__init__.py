"""The farm's pages for people: rendered on the server from what the API answers, and kept fresh by its events."""
