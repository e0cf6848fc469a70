"""Who looks at a page, and what they may ask for."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request


@dataclass(frozen=True)
class Visitor:
    """Somebody in front of a page."""

    name: str | None
    """None for anybody."""

    may_operate: bool = False
    namespaces: frozenset[str] = frozenset()
    """Owners on the Hub for whose models and benchmarks they may ask."""

    may_sign_in: bool = False
    """Whether this farm has a sign-in."""

    def may_act_on(self, *repos: str | None) -> bool:
        """Whether they may ask for things about a claim on these repos."""
        return self.may_operate or any(repo and repo.partition("/")[0] in self.namespaces for repo in repos)


NOBODY = Visitor(None)


def visitor_of(request: Request) -> Visitor:
    """Who asks for a page."""
    return NOBODY
