"""What the farm takes beside what it is held against, measured; each by a command."""
