"""What the API says, version 1, of the farm as a whole. The rules of `specs.api_v1.views` hold here too."""

from __future__ import annotations

from datetime import date, datetime

from specs.api_v1.claims import ClaimStateName
from specs.api_v1.views import View
from specs.judging.verdict import Outcome
from specs.measurement import Proportion


class PoolLoad(View):
    """What waits and what runs in one pool."""

    pool: str
    queued: int
    dispatched: int
    """With the broker, or taken by a worker that has not spoken yet."""

    running: int
    oldest_waiting_since: datetime | None
    """Since when that one waits, with the broker too, which has waited longest of those that could be run now: it was
    planned then, or handed back. Null where none waits but for its next try, or for the operator."""

    oldest_wait_seconds: float | None
    """How long ago that was, as of this answer."""


class DayOfVerdicts(View):
    """How many verdicts of each kind were given on one day (UTC)."""

    day: date
    verdicts: dict[Outcome, int]
    """Kinds of which there was none are 0."""


class VerifiedNow(View):
    """A claim that was verified, as a line of a list."""

    claim_id: str
    model: str
    dataset: str | None
    task: str | None
    claimed: Proportion | None
    reproduced: Proportion | None
    samples_used: int | None
    population: int | None
    decided_at: datetime


class BlockedClaim(View):
    """A claim that waits for somebody."""

    claim_id: str
    model: str
    dataset: str | None
    task: str | None
    reason: str
    since: datetime
    awaits_approval: bool
    """An operator has to approve it."""


class BlockedGroup(View):
    """Claims that wait for the same reason."""

    reason: str
    claims: int
    newest_claim_id: str


class Quarantined(View):
    """A worker that takes no work; it returns by itself once its reason is gone."""

    worker: str
    pool: str
    reason: str
    since: datetime


class Unpublished(View):
    """A verdict that could not be written on the Hub yet."""

    claim_id: str
    model: str
    tries: int
    reason: str
    next_try_at: datetime | None


class NeedsAPerson(View):
    """What may need a person: some of it goes on by itself, as its reason says."""

    blocked: tuple[BlockedClaim, ...]
    """The newest 20."""

    blocked_by_reason: tuple[BlockedGroup, ...]
    """The newest 1000 by reason, largest group first, 20 groups at most."""

    quarantined: tuple[Quarantined, ...]
    """20 at most."""

    workers_quarantined: int
    """All of them."""

    unpublished: tuple[Unpublished, ...]
    """Those that failed at least once, 20 at most."""

    verdicts_unpublished: int
    """All that failed at least once."""


class Overview(View):
    """The farm at a glance."""

    counted_at: datetime | None
    """When `pools`, `claims`, `verdicts`, `days` and the two numbers in `needs_a_person` were counted, those that were
    first, if something may have changed since; null if they are current. At most a twentieth of the time goes into
    either count: with millions of claims, or a hundred thousand runs that wait, the numbers are some seconds old. How
    long a run has waited is of now."""

    pools: tuple[PoolLoad, ...]
    """Pools that have work, by name."""

    claims: dict[ClaimStateName, int]
    verdicts: dict[Outcome, int]
    """Of all times."""

    verdicts_today: dict[Outcome, int]
    """Since midnight, UTC."""

    verdicts_7_days: dict[Outcome, int]
    """Today and the six days before."""

    days: tuple[DayOfVerdicts, ...]
    """The last 30 days, oldest first, today last."""

    verified_today: tuple[VerifiedNow, ...]
    """The newest 10."""

    needs_a_person: NeedsAPerson
