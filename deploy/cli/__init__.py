"""The `reprofarm` command."""
