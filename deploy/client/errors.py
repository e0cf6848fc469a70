"""What goes wrong between a client and a farm."""

from __future__ import annotations

from http import HTTPStatus

from specs.api_v1.views import Problem
from specs.errors import ReprofarmError


class ApiError(ReprofarmError):
    """The farm did not answer, or answered with an error."""

    def __init__(self, message: str, problem: Problem | None = None, *, passes: bool = False) -> None:
        super().__init__(message)
        self.passes = passes
        """Whether the same request may be answered in a moment: the farm is away, or has too much to do."""

        self.problem = problem
        """What the farm said; None where there was no such answer."""

    @property
    def is_missing(self) -> bool:
        """Whether the farm has no such thing."""
        return self.problem is not None and self.problem.status == HTTPStatus.NOT_FOUND
