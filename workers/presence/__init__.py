"""A worker's word that it is there, and its place in Celery."""
