"""Who goes first, by whose wish a reproduction is run."""

from __future__ import annotations

REQUESTED_PRIORITY = 10
AUTHOR_PRIORITY = 20
COMMUNITY_PRIORITY = 30
PERIODIC_PRIORITY = 40
"""Lower goes first: what somebody asked for, what authors submitted, what others did, what the farm repeats itself."""
