"""How values are shown: the filters of the templates. Missing is a dash, never 0."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlencode, urlsplit

from markupsafe import Markup

from specs.judging.samples_in_words import why_fewer_decided

MISSING = "–"

ICONS = {
    "verified": "check",
    "mismatch": "equal-not",
    "inconclusive": "circle-help",
    "unsupported": "ban",
    "failed": "zap-off",
    "submitted": "circle-dashed",
    "planned": "clock",
    "queued": "clock",
    "dispatched": "send",
    "running": "loader-circle",
    "completed": "check",
    "cancelled": "x",
    "blocked": "pause",
    "decided": "check",
    "rejected": "x",
    "withdrawn": "undo-2",
    "revoked": "ban",
    "stale": "timer",
    "idle": "circle-dashed",
    "busy": "activity",
    "draining": "hourglass",
    "quarantined": "triangle-alert",
    "lost": "zap-off",
}
"""Each state and outcome has a shape besides its colour."""

_STEPS = ((60, "s"), (60, "min"), (24, "h"), (7, "d"), (52, "w"))


def percent(value: float | None, decimals: int = 2) -> str:
    """A proportion as a percentage."""
    return MISSING if value is None else f"{100 * value:.{decimals}f} %"


def points(value: float | None, decimals: int = 2, signed: bool = False) -> str:
    """A difference of proportions, in percentage points."""
    if value is None:
        return MISSING
    shown = f"{100 * value:+.{decimals}f}" if signed else f"{100 * value:.{decimals}f}"
    return shown.replace("-", "−")


def number(value: float | None) -> str:
    """A count, with thin spaces between thousands."""
    if value is None:
        return MISSING
    shown = f"{value:,}" if isinstance(value, int) or value.is_integer() else f"{value:,.1f}"
    return shown.removesuffix(".0").replace(",", "\u202f")


def short(value: str | None, characters: int = 12) -> str:
    """The start of an id."""
    return MISSING if value is None else value[:characters]


def ago(value: datetime | None, now: datetime | None = None) -> Markup:
    """A time as its distance, with the time itself for whoever points at it; the page keeps the distance right."""
    if value is None:
        return Markup(MISSING)  # noqa: S704 - ours
    at = value.astimezone(UTC)
    # Markup.format escapes what it is given.
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(timespec="seconds"), f"{at:%Y-%m-%d %H:%M:%S} UTC", distance(at, now or datetime.now(UTC))
    )


def distance(at: datetime, now: datetime) -> str:
    """How far a time is from now: `3 min ago`, `in 2 h`."""
    seconds = (now - at).total_seconds()
    shown = duration(abs(seconds))
    if abs(seconds) < 5:
        return "now"
    return f"{shown} ago" if seconds > 0 else f"in {shown}"


def duration(seconds: float | None) -> str:
    """A length of time in its largest unit."""
    if seconds is None:
        return MISSING
    amount = seconds
    for size, unit in _STEPS:
        if amount < size:
            return f"{amount:.0f} {unit}"
        amount /= size
    return f"{amount:.0f} y"


def gib(size: int | None) -> str:
    """Bytes as GiB."""
    return MISSING if size is None else f"{size / 2**30:.1f} GiB"


def outside(url: str | None) -> str | None:
    """An address from outside, if a page may link to it: http and https alone."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.netloc else None


def query(**asked: object) -> str:
    """The part of an address behind `?`; what is not asked for is left out."""
    return urlencode({name: value for name, value in asked.items() if value not in (None, "")})


FILTERS = {
    "ago": ago,
    "duration": duration,
    "gib": gib,
    "number": number,
    "outside": outside,
    "percent": percent,
    "points": points,
    "short": short,
    "why_fewer_decided": why_fewer_decided,
}
