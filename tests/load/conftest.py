"""Databases of both kinds, as the integration tests have them."""

from __future__ import annotations

from tests.integration.conftest import databases, postgres

__all__ = ["databases", "postgres"]
