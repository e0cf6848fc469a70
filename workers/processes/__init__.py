"""Processes and ports of this machine: nothing that is started here is left behind."""
