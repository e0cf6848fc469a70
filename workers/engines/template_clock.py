"""The time that chat templates see."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Self


def stop_the_clock_of_templates() -> None:
    """Have all chat templates that this process renders see the midnight at which its day (UTC) began.

    transformers (5.18) gives them `strftime_now`, for the date that some write into each prompt. With the time of the
    day one could ask otherwise in the hour in which a run is repeated, and every prompt of a run would be another.
    """
    from transformers.utils import chat_template_utils  # noqa: PLC0415 - an engine's process has it by now

    day = datetime.now(UTC).date()

    class Midnight(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls(day.year, day.month, day.day, tzinfo=tz)

    chat_template_utils.datetime = Midnight
