"""A benchmark as it is fetched: its eval.yaml, card and rows, checked before an engine answers, and its task."""
