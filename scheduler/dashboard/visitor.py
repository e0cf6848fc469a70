"""Who looks at a page, and what they may ask for."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from scheduler.api.callers.callers import Caller, caller_of


@dataclass(frozen=True)
class Visitor:
    """Somebody in front of a page."""

    caller: Caller
    may_sign_in: bool
    """Whether this farm has a sign-in."""

    @property
    def name(self) -> str | None:
        """None for anybody."""
        return self.caller.name

    @property
    def may_read(self) -> bool:
        """Whether the farm shows itself to them."""
        return "read" in self.caller.scopes

    @property
    def may_operate(self) -> bool:
        """Whether they may do everything."""
        return self.caller.operates

    def may_act_on(self, *repos: str | None) -> bool:
        """Whether they may ask for things about a claim on these repos. The API checks again, and more."""
        return "request" in self.caller.scopes and self.caller.speaks_for(*repos)


def visitor_of(request: Request) -> Visitor:
    """Who asks for a page, as the gate found them."""
    return Visitor(caller_of(request), request.app.state.provider is not None)
