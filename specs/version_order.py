"""Which of two versions of a package is older (PEP 440)."""

from __future__ import annotations

from packaging.version import InvalidVersion, Version


def is_version(text: str) -> bool:
    """Whether `text` is a version."""
    return _version(text) is not None


def is_older(text: str, minimum: str) -> bool:
    """Whether a version is below a minimum; one that cannot be read is: nothing says that it is not.

    Raises:
        ValueError: `minimum` is no version.
    """
    found, least = _version(text), _version(minimum)
    if least is None:
        raise ValueError(f"{minimum!r} is no version")
    # The build of a version, `+cpu` in 0.32.0+cpu, does not make it another one.
    return found is None or found < least


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None
