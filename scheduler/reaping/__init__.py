"""What got lost is set right: workers and attempts that fell silent, messages that a broker forgot, useless runs."""
