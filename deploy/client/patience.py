"""Asking again while a farm that has answered before is away, as while its API restarts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from deploy.client.errors import ApiError

PATIENCE_SECONDS = 300.0
"""Within which an API is back after a restart, and its database after a failover."""

PAUSE_SECONDS = 1.0

Answer = TypeVar("Answer")


@dataclass
class Patience:
    """Of who follows a farm for hours. One that never answered is likely none, and is not waited for."""

    say: Callable[[str], None]
    """Told once when the farm goes away."""

    _has_answered: bool = field(default=False, init=False)

    def until_answered(self, ask: Callable[[], Answer]) -> Answer:
        """What comes of asking.

        Raises:
            ApiError: a refusal, or the farm has been away for `PATIENCE_SECONDS`.
        """
        away_since: float | None = None
        while True:
            try:
                found = ask()
            except ApiError as error:
                if not error.passes:
                    self._has_answered = True
                    raise
                if not self._has_answered:
                    raise
                if away_since is None:
                    away_since = time.monotonic()
                    self.say(f"{error}; asking again for up to {PATIENCE_SECONDS:.0f} s")
                elif time.monotonic() - away_since > PATIENCE_SECONDS:
                    raise
                time.sleep(PAUSE_SECONDS)
            else:
                self._has_answered = True
                return found
