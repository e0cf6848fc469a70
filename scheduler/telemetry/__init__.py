"""Lines of the log and spans of traces, of changes once they are committed."""
