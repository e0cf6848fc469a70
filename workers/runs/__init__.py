"""A run in a process of its own: a task of an eval.yaml on an engine, from dataset to measurement."""
