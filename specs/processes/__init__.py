"""What every process of the farm does alike: lasting connections, logs without secrets, traces."""
