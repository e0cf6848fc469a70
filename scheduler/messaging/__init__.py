"""Messages to workers and to the control plane itself: rows first, then the broker."""
