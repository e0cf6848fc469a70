"""What workers say is taken in: heartbeats, reports, and that they are there."""
