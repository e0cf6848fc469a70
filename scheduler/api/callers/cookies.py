"""The cookies of people who sign in.

The session's cookie holds 32 random bytes whose hash is a row. It has no signature: nobody can guess such an id, and
what no row has is no session, whoever signed it. So the API needs no key.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi import Response
from starlette.requests import cookie_parser

from scheduler.settings import Settings


@dataclass(frozen=True)
class SessionCookie:
    """A cookie that only the farm's own server reads."""

    name: str
    secure: bool

    @classmethod
    def for_settings(cls, settings: Settings, what: str = "session") -> SessionCookie:
        """The cookie as the farm's public address allows: over TLS, no other host and no plain page can set it."""
        secure = urlsplit(settings.public_url).scheme == "https"
        # Browsers take a name that begins so only with Secure, for the whole host and from it alone.
        return cls(f"{'__Host-' if secure else ''}reprofarm-{what}", secure)

    def value_in(self, header: str | None) -> str | None:
        """Its value in a `Cookie` header."""
        return cookie_parser(header).get(self.name) if header is not None else None

    def set(self, response: Response, value: str, seconds: int) -> None:
        """Have the browser keep it."""
        # Lax: it comes along when somebody follows a link here, and with no POST from elsewhere.
        response.set_cookie(
            self.name, value, max_age=seconds, path="/", secure=self.secure, httponly=True, samesite="lax"
        )

    def clear(self, response: Response) -> None:
        """Have the browser forget it."""
        response.delete_cookie(self.name, path="/", secure=self.secure, httponly=True, samesite="lax")
