"""A typed client of a farm's API, which the `reprofarm` command uses too: `from deploy.client import FarmClient`."""

from deploy.client.errors import ApiError
from deploy.client.farm import FarmClient
from deploy.client.filters import ClaimFilter, ReproductionFilter

__all__ = ["ApiError", "ClaimFilter", "FarmClient", "ReproductionFilter"]
