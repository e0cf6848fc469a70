"""Reproductions become batches in the queues of pools and of single workers."""
