"""What is told of changes once they are committed: lines of the log, and spans of traces."""
