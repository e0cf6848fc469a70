"""What workers say is taken in: heartbeats, reports, and that they say nothing any more."""
