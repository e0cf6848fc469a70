"""What the API says, version 1, of itself. The rules of `specs.api_v1.views` hold here too."""

from __future__ import annotations

from typing import Literal

from specs.api_v1.views import View


class Health(View):
    """Whether the process is alive."""

    status: Literal["ok"] = "ok"


class Readiness(View):
    """Whether the farm can work; what cannot is named with its reason."""

    status: Literal["ready", "not_ready"]
    checks: dict[str, str]
    """By name, `database` and `broker`: `ok`, or what is wrong."""
