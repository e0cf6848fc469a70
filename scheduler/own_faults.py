"""Exceptions that a bug of ours raises where it meets a stranger's file: that file's trouble, and nobody else's."""

from __future__ import annotations

from sqlalchemy.exc import DataError

from specs.errors import IllegalTransition

OURS = (
    ArithmeticError,
    AttributeError,
    DataError,
    IllegalTransition,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
