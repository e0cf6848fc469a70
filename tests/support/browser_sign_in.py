"""Somebody in a browser who signs in to a farm with the local Hub, page by page."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.support.api import RunningApi, running_api
from tests.support.localhub import RunningHub, running_hub


@dataclass(frozen=True)
class Site:
    """A farm and the Hub with which people sign in to it."""

    api: RunningApi
    hub: RunningHub


@dataclass
class Browser:
    """Keeps the farm's cookies, as a browser does; follows no redirect by itself."""

    site: Site
    cookies: httpx2.Cookies = field(default_factory=httpx2.Cookies)

    def get(self, path: str) -> httpx2.Response:
        """A page of the farm."""
        return self._request("GET", path)

    def post(self, path: str, **headers: str) -> httpx2.Response:
        """A form on one of the farm's own pages, unless `headers` say otherwise."""
        return self._request("POST", path, headers={"origin": self.site.api.settings.public_url, **headers})

    def begin(self, next_path: str = "/claims") -> str:
        """Ask the farm to sign in; the address on the Hub."""
        answer = self.get(f"/auth/login?next={next_path}")
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def agree(self, address: str, token: str, answer: str = "allow") -> str:
        """Agree on the Hub's page; the path on the farm to which it sends back."""
        page = httpx2.get(address)
        assert page.status_code == 200, page.text
        found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text)
        form = {name: html.unescape(value) for name, value in found}
        sent_back = httpx2.post(f"{self.site.hub.url}/oauth/authorize", data={**form, "token": token, "answer": answer})
        assert sent_back.status_code == 303, sent_back.text
        location: str = sent_back.headers["location"]
        assert location.startswith(self.site.api.settings.public_url + "/auth/callback?")
        return location.removeprefix(self.site.api.settings.public_url)

    def sign_in(self, token: str) -> httpx2.Response:
        """The whole way."""
        return self.get(self.agree(self.begin(), token))

    def me(self) -> dict[str, Any]:
        """Who the farm takes it for."""
        found: dict[str, Any] = self.get("/v1/me").json()
        return found

    def _request(self, method: str, path: str, **sent: Any) -> httpx2.Response:
        with httpx2.Client(base_url=self.site.api.url, cookies=self.cookies, timeout=60) as client:
            answer = client.request(method, path, **sent)
            self.cookies = client.cookies
        return answer


@contextmanager
def running_site(folder: Path, **settings: Any) -> Iterator[Site]:
    """A farm that is an application of a local Hub."""
    with running_hub(folder / "hub") as hub:
        public_url = settings.get("public_url", "http://farm.test")
        registered = hub.local.storage.applications.add("the farm", (f"{public_url}/auth/callback",))
        sign_in = {"hub_oauth_client_id": registered.client_id, "hub_oauth_client_secret": registered.secret}
        with running_api(folder, **{"hub_endpoint": hub.url, **sign_in, **settings}) as api:
            yield Site(api, hub)
