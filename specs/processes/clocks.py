"""How far the clocks of a farm's machines may be apart."""

from __future__ import annotations

CLOCKS_DIFFER_SECONDS = 10.0
"""What one machine dates and another looks at has so much more time."""
