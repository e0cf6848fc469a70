"""Validation errors of pydantic, as a line for people: where it is, and what is allowed there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError, WrapValidator
from pydantic_core import PydanticCustomError

from specs.errors import PolicyError

Read = TypeVar("Read")

OWN_WORDS = "Value error, "
"""Pydantic's, before the words of a validator of ours."""

WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not taken here",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "string_too_short": "must have {min_length} or more characters",
    "string_too_long": "must have {max_length} or fewer characters",
    "string_pattern_mismatch": "must have the form {pattern}",
    "too_short": "must have {min_length} or more items",
    "too_long": "must have {max_length} or fewer items",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "model_attributes_type": "must be an object",
    "datetime_type": "must be a date and time",
    "datetime_parsing": "must be a date and time",
    "datetime_from_date_parsing": "must be a date and time",
    "json_invalid": "must be JSON",
}
"""By the types of https://docs.pydantic.dev/latest/errors/validation_errors/: those that a caller is likely to see."""


def must_be(allowed: str) -> WrapValidator:
    """For a value of several kinds: one fault that says all that is allowed, instead of one for each kind."""

    def checked(value: object, validate: Callable[[object], object]) -> object:
        try:
            return validate(value)
        except ValidationError:
            raise PydanticCustomError("must_be", "must be {allowed}", {"allowed": allowed}) from None

    return WrapValidator(checked)


def fault(found: Mapping[str, Any]) -> str:
    """One of an error's `errors()`: where it is, and what. The input, which may be a secret, is not in it."""
    place = " ".join(map(str, found["loc"]))
    # What is wrong between several keys has no place of its own.
    return f"{place}: {what_is_allowed(found)}" if place else what_is_allowed(found)


def faults_in_file(error: ValidationError) -> str:
    """All that is wrong with a file's keys, each by its path."""
    return _faults(error, ".".join)


def settings_from(read: Callable[[], Read], prefix: str) -> Read:
    """What `read` makes of variables whose names begin with `prefix`.

    Raises:
        PolicyError: a setting is wrong, each said by the variable that sets it; the operator must act.
    """
    try:
        return read()
    except ValidationError as error:
        # Without the values: one of them may be a password.
        raise PolicyError(f"settings: {_faults(error, lambda path: prefix + '__'.join(path).upper())}") from None


def _faults(error: ValidationError, named: Callable[[list[str]], str]) -> str:
    found = error.errors(include_url=False, include_input=False)
    # An item that is wrong is one that pydantic misses in its list, too.
    wrong = {each["loc"][:-1] for each in found} | {each["loc"][:-2] for each in found}
    found = [each for each in found if each["type"] != "too_short" or each["loc"] not in wrong]
    return "; ".join(fault({**each, "loc": (named(list(map(str, each["loc"]))),)}) for each in found)


def what_is_allowed(found: Mapping[str, Any]) -> str:
    """The second half of `fault`."""
    words = WORDS.get(found["type"])
    if words is None:
        return str(found["msg"]).removeprefix(OWN_WORDS)
    return words.format_map(found.get("ctx", {}))
