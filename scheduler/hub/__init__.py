"""The Hub, as the control plane reads it and is limited by it."""
