"""A farm as its API shows it: what is there, and what may be asked of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Self
from urllib.parse import quote

from deploy.client.connection import Connection
from deploy.client.filters import ClaimFilter, ReproductionFilter
from deploy.client.patience import Patience
from specs.api_v1.actions import Done, VerificationRequest
from specs.api_v1.badges import BadgeView
from specs.api_v1.claims import ClaimView
from specs.api_v1.events import EventPage, EventView
from specs.api_v1.keys import Jwks
from specs.api_v1.noise import NoiseView
from specs.api_v1.plan import ClaimPlan
from specs.api_v1.policy import PolicyView
from specs.api_v1.reproductions import ReproductionSummary, ReproductionView
from specs.api_v1.views import MAX_PAGE, Page
from specs.api_v1.workers import PoolView, WorkerView

DEFAULT_API = "http://127.0.0.1:8000"


class FarmClient:
    """The API at one base URL. Every method raises `ApiError` where the farm cannot answer, or refuses."""

    def __init__(self, api: str = DEFAULT_API, token: str | None = None, patience: Patience | None = None) -> None:
        """`token` is one that the farm issued; without it, what is public can be read.

        With `patience`, what is read is asked for again while the farm is away.
        """
        self._farm = Connection(api, token, patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._farm.close()

    @property
    def api(self) -> str:
        """The base URL."""
        return self._farm.api

    def claims(self, wanted: ClaimFilter, limit: int, cursor: str | None = None) -> Page[ClaimView]:
        """Claims, newest first: at most `limit`, in as many requests as that takes."""
        return self._farm.page("/v1/claims", Page[ClaimView], asdict(wanted), limit, cursor)

    def claim(self, claim_id: str) -> ClaimView:
        """One claim, by its id or the start of it."""
        return self._farm.get(_at("claims", claim_id), ClaimView)

    def plan(self, claim_id: str, samples: int | None = None) -> ClaimPlan:
        """What judging a claim will cost, on so many samples where that is given."""
        asked = {"samples": None if samples is None else str(samples)}
        return self._farm.get(_at("claims", claim_id, "plan"), ClaimPlan, asked)

    def timeline(self, claim_id: str, after: str | None = None) -> EventPage:
        """All that happened to a claim and to its reproduction after an event, oldest first."""
        return self._record(_at("claims", claim_id, "events"), {}, after)

    def timeline_of_reproduction(self, reproduction_id: str, after: str | None = None) -> EventPage:
        """All that happened to a reproduction after an event, oldest first."""
        return self._record("/v1/events", {"subject": "reproduction", "subject_id": reproduction_id}, after)

    def timeline_of_model(self, model: str, after: str | None = None) -> EventPage:
        """All that happened to a model, not to its claims, after an event, oldest first."""
        return self._record("/v1/events", {"subject": "model", "subject_id": model}, after)

    def last_event(self) -> str | None:
        """The cursor of the latest of all events; None before the first."""
        (newest,) = self._farm.get("/v1/events", EventPage, {"order": "newest", "limit": "1"}).items or (None,)
        return newest.cursor if newest is not None else None

    def events(self, after: str | None = None) -> list[EventView]:
        """What happened after the event of that cursor (from the beginning for None), oldest first; one page of it."""
        return list(self._farm.get("/v1/events", Page[EventView], {"limit": str(MAX_PAGE), "after": after}).items)

    def noise(self, dataset: str | None = None, task: str | None = None) -> list[NoiseView]:
        """How much honest re-runs differ, by task; all tasks, in as many requests as that takes."""
        return list(self._farm.items("/v1/noise", Page[NoiseView], {"dataset": dataset, "task": task}))

    def jwks(self) -> Jwks:
        """The public keys with which the farm's badges are checked."""
        return self._farm.get("/.well-known/jwks.json", Jwks)

    def badge_of(self, claim_id: str) -> BadgeView:
        """The badge of a verified claim."""
        return self._farm.get(_at("claims", claim_id, "badge"), BadgeView)

    def reproductions(
        self, wanted: ReproductionFilter, limit: int, cursor: str | None = None
    ) -> Page[ReproductionSummary]:
        """Reproductions, newest first: at most `limit`, in as many requests as that takes."""
        return self._farm.page("/v1/reproductions", Page[ReproductionSummary], asdict(wanted), limit, cursor)

    def reproduction(self, reproduction_id: str) -> ReproductionView:
        """One reproduction, by its id or the start of it."""
        return self._farm.get(_at("reproductions", reproduction_id), ReproductionView)

    def workers(self, pool: str | None = None, state: str | None = None) -> list[WorkerView]:
        """The farm's workers, of a pool or in a state where that is given, by name."""
        return list(self._farm.items("/v1/workers", Page[WorkerView], {"pool": pool, "state": state}))

    def pools(self) -> list[PoolView]:
        """The farm's pools, and what waits and runs in each."""
        return list(self._farm.items("/v1/pools", Page[PoolView], {}))

    def policy(self) -> PolicyView:
        """The rules by which the farm judges."""
        return self._farm.get("/v1/policy", PolicyView)

    def verify(self, asked: VerificationRequest) -> Done:
        """Have what a model claims on a benchmark verified, or verified again."""
        return self._farm.post("/v1/verifications", Done, asked.model_dump(mode="json"))

    def revoke(self, badge_id: str, why: str) -> Done:
        """Have a badge count no more; by its id, its claim's, or the beginning of either."""
        return self._farm.post(_at("badges", badge_id, "revoke"), Done, {"why": why})

    def act_on_claim(self, claim_id: str, action: str, why: str, **more: object) -> Done:
        """Cancel, retry, reverify, approve or publish a claim."""
        return self._farm.post(_at("claims", claim_id, action), Done, {"why": why, **more})

    def act_on_reproduction(self, reproduction_id: str, action: str, why: str) -> Done:
        """Cancel or retry a reproduction."""
        return self._farm.post(_at("reproductions", reproduction_id, action), Done, {"why": why})

    def _record(self, path: str, asked: dict[str, str | None], after: str | None) -> EventPage:
        """All parts of the record as one, with the `reset` of a restored farm that does not know the event `after`."""
        items: list[EventView] = []
        cursor = after
        while True:
            page = self._farm.get(path, EventPage, {**asked, "limit": str(MAX_PAGE), "after": cursor})
            items += page.items
            cursor = page.next
            if cursor is None:
                return EventPage(items=tuple(items), next=None, reset=page.reset)


def _at(*parts: str) -> str:
    """The path of a thing; what is no id leads to no other path."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)
