"""Figures and pictures that the documents show, each made by a command."""
