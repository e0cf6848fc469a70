"""What the API says, version 1, to the Hub. The rules of `specs.api_v1.views` hold here too."""

from __future__ import annotations

from specs.api_v1.views import View


class Announced(View):
    """What becomes of an announcement."""

    looked_at: str | None
    """The repo; null if it is not one that the farm looks at."""

    why: str
