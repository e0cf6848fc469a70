"""Puts the rooms together: the command line, a Hub in a folder, the demo, images and dashboards."""
