"""A day of a farm with a thousand GPUs, simulated: arrivals as the Hub's, and the farm's own decisions."""
