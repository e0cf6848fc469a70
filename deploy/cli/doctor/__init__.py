"""`reprofarm doctor`: the command, what it asks of the machine and of the services, and what it finds."""
