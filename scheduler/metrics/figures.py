"""The farm's figures for Prometheus, counted in the database when they are asked for.

Whatever process answers, the figures are the same, and none is lost with a restart. Labels take their values from
fixed lists, and from the pools of the policy, so that nobody outside can make series. Workers serve none of their own:
nobody reaches them (the chart's network policy), and what is worth knowing of them is in their heartbeats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from scheduler.admission import budgets
from scheduler.admission.priorities import AUTHOR_PRIORITY, COMMUNITY_PRIORITY, PERIODIC_PRIORITY, REQUESTED_PRIORITY
from scheduler.badges.publications import is_due
from scheduler.collect.kept_reports import KEPT
from scheduler.collect.workforce import STATES
from scheduler.database.tables import (
    Attempt,
    Badge,
    HubLimit,
    Marker,
    OutboxRow,
    Publication,
    Refused,
    Reproduction,
    WebhookDelivery,
    Worker,
)
from scheduler.database.tables.marker import AWAITED, HUB_SCANNED, REAPER_LOOKED
from scheduler.dispatch.longest_wait import longest_waiting_since
from scheduler.dispatch.workers_wanted import workers_wanted
from scheduler.metrics import cached_counts, totals
from scheduler.metrics.cached_counts import CachedCounts
from scheduler.metrics.oldest_unsigned import OldestUnsigned
from scheduler.metrics.totals import GPU_SECONDS, Totals
from scheduler.state_machine import ACTIVE, IN_FLIGHT, ClaimState
from specs.judging.verdict import Outcome
from specs.messages import AWAITS_STORE, AttemptOutcome, Stage
from specs.policy.budget import BudgetRules
from specs.policy.publish import PublishRules
from specs.policy.rules import Policy

PRIORITIES = {
    REQUESTED_PRIORITY: "requested",
    AUTHOR_PRIORITY: "author",
    COMMUNITY_PRIORITY: "community",
    PERIODIC_PRIORITY: "periodic",
}


class Figures:
    """Counts what is under way, and what came since it was asked before."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._verdicts = Totals(totals.verdicts)
        self._attempts = Totals(totals.attempts)
        self._engine_loads = Totals(totals.engine_loads)
        self._claims = CachedCounts(cached_counts.claims)
        self._aside = CachedCounts(cached_counts.set_aside)
        self._badges = Totals(totals.badges)
        self._unsigned = OldestUnsigned()

    def families(self, session: Session, at: datetime) -> Iterator[Metric]:
        """All of them, as they are at that time."""
        claims, signed = self._claims.read(session, at), self._badges.read(session, at)[()]
        revoked = session.scalar(select(func.count()).where(Badge.revoked_at.is_not(None))) or 0
        badges = {"valid": signed - revoked, "revoked": revoked}
        yield _by_state("reprofarm_claims", "Claims by state.", {each: claims.get(each, 0) for each in ClaimState})
        yield _by_state("reprofarm_badges", "Badges by whether they count.", badges)
        verdicts = self._verdicts.read(session, at)
        yield _counter(
            "reprofarm_verdicts", "Verdicts by outcome.", ("outcome",), {(o,): verdicts.get((o,), 0) for o in Outcome}
        )
        yield from _attempts(self._attempts.read(session, at))
        yield _counter(
            "reprofarm_engine_loads",
            "Engines that were started with a model, by pool, as workers told.",
            ("pool",),
            self._engine_loads.read(session, at),
        )
        yield from _reproductions(session, self._policy, at)
        yield from _workers(session, at)
        yield from _outbox(session, at)
        yield _one(
            "reprofarm_unsigned_age_seconds",
            "Age of the oldest verified verdict that has no badge.",
            _age(self._unsigned.read(session, at), at),
        )
        yield from _left_undone(session, at)
        yield _one(
            "reprofarm_reproductions_set_aside",
            "Queued reproductions that cannot be sent out as they are, and wait for the operator.",
            self._aside.read(session, at)["set_aside"],
        )
        yield _counter(
            "reprofarm_refused_messages",
            "Messages that were taken from the broker and refused, as none of this farm's, by what their queue is for.",
            ("queue",),
            {(row.queue,): row.number for row in session.scalars(select(Refused).order_by(Refused.queue))},
        )
        yield from _hub_limits(session, at)
        yield from _hub(session, self._policy.publish, at)
        yield _one(
            "reprofarm_scan_interval_seconds",
            "How often the Hub is scanned, as policy has it.",
            self._policy.watch.scan_seconds,
        )
        yield from _budget(session, self._policy.budget, at)


def _attempts(found: Mapping[tuple[str, ...], float]) -> Iterator[Metric]:
    pools = sorted({key[1] for key in found})
    yield _counter(
        "reprofarm_attempts",
        "Attempts that ended, by pool and by what became of them.",
        ("pool", "outcome"),
        {(pool, outcome): found.get(("ended", pool, outcome), 0) for pool in pools for outcome in AttemptOutcome},
    )
    counted = sum(value for (kind, *_), value in found.items() if kind == "counted")
    population = sum(value for (kind, *_), value in found.items() if kind == "population")
    yield _counter("reprofarm_samples_counted", "Samples that completed reproductions counted.", (), {(): counted})
    yield _counter(
        "reprofarm_samples_population", "Samples that their tasks have: what full runs cost.", (), {(): population}
    )
    cost = HistogramMetricFamily(
        "reprofarm_reproduction_gpu_seconds",
        "What completed reproductions took in seconds times GPUs (of a CPU pool, of a worker), their engine's start as"
        " it is reckoned.",
        labels=("pool",),
    )
    for pool in pools:
        number = found.get(("ended", pool, AttemptOutcome.COMPLETED), 0)
        buckets = [(str(bound), found.get(("le", pool, str(bound)), 0.0)) for bound in GPU_SECONDS]
        # Floats' last digits are others where another process adds them up, and a count that falls by one of them has
        # begun anew to Prometheus.
        seconds = round(found.get(("gpu_seconds", pool), 0.0), 3)
        cost.add_metric((pool,), [*buckets, ("+Inf", number)], seconds)
    yield cost


def _reproductions(session: Session, policy: Policy, at: datetime) -> Iterator[Metric]:
    count = GaugeMetricFamily(
        "reprofarm_reproductions", "Reproductions that are under way, by pool and state.", labels=("pool", "state")
    )
    age = GaugeMetricFamily(
        "reprofarm_queue_age_seconds",
        "How long that reproduction has waited which has waited for longest of those that could be run, by pool and by"
        " whose it is.",
        labels=("pool", "priority"),
    )
    rows = session.execute(
        select(
            Reproduction.pool,
            Reproduction.priority,
            Reproduction.state,
            func.count(),
            longest_waiting_since(at),
        )
        .where(Reproduction.state.in_(ACTIVE))
        .group_by(Reproduction.pool, Reproduction.priority, Reproduction.state)
    ).all()
    # Of a pool that has nothing to do too, whose workers KEDA may have taken away: so that its series fall to 0 instead
    # of ending, after which a panel shows what they were last. A pool that policy lost has them while it has workers.
    in_policy = {pool.name for pool in policy.pools}
    pools = {row.pool for row in rows} | in_policy | set(session.scalars(select(Worker.pool).distinct()))
    for pool in sorted(pools):
        mine = [row for row in rows if row.pool == pool]
        for state in ACTIVE:
            count.add_metric((pool, state), sum(number for *_, found, number, _ in mine if found == state))
        for name in (*PRIORITIES.values(), "other"):
            waiting = [
                oldest
                for _, priority, _, _, oldest in mine
                if oldest is not None and PRIORITIES.get(priority, "other") == name
            ]
            age.add_metric((pool, name), _age(min(waiting, default=None), at))
    wants = GaugeMetricFamily(
        "reprofarm_workers_wanted",
        "Workers that a pool could keep busy now, and those in quarantine if it could any: what KEDA scales it by.",
        labels=("pool",),
    )
    wanted = workers_wanted(session, policy)
    for pool in sorted(pools):
        wants.add_metric((pool,), wanted.get(pool, 0))
    yield count
    yield age
    yield wants


def _workers(session: Session, at: datetime) -> Iterator[Metric]:
    # Only workers of the policy's pools are ever entered: scheduler/collect/workforce.py.
    count = GaugeMetricFamily("reprofarm_workers", "Workers by pool and state.", labels=("pool", "state"))
    age = GaugeMetricFamily(
        "reprofarm_worker_heartbeat_age_seconds",
        "Age of the latest word of the worker of a pool that has been silent for longest, lost ones aside.",
        labels=("pool",),
    )
    rows = session.execute(
        select(Worker.pool, Worker.state, func.count(), func.min(Worker.seen_at)).group_by(Worker.pool, Worker.state)
    ).all()
    for pool in sorted({row.pool for row in rows}):
        found = {state: (number, oldest) for name, state, number, oldest in rows if name == pool}
        for state in STATES:
            count.add_metric((pool, state), found.get(state, (0, None))[0])
        heard = [oldest for state, (_, oldest) in found.items() if state != "lost"]
        age.add_metric((pool,), _age(min(heard, default=None), at))
    yield count
    yield age


def _outbox(session: Session, at: datetime) -> Iterator[Metric]:
    unsent, oldest = session.execute(
        select(func.count(), func.min(OutboxRow.created_at)).where(OutboxRow.sent_at.is_(None))
    ).one()
    yield _one("reprofarm_outbox_unsent", "Messages that wait to be sent to the broker.", unsent)
    yield _one("reprofarm_outbox_age_seconds", "Age of the oldest message that waits to be sent.", _age(oldest, at))
    untold = session.scalar(select(func.count()).where(WebhookDelivery.due_at.is_not(None)))
    yield _one(
        "reprofarm_webhook_messages_waiting",
        "Messages to receivers of webhooks that none of them has taken yet, and that are tried on.",
        untold or 0,
    )


def _left_undone(session: Session, at: datetime) -> Iterator[Metric]:
    # While it is checked once more too, which takes minutes of a store that swallows what is asked of it.
    put_off = and_(Attempt.report.is_not(None), Reproduction.reason.contains(KEPT, autoescape=True))
    unstored = and_(Attempt.stage == Stage.STORING, Attempt.detail.startswith(AWAITS_STORE, autoescape=True))
    waiting = session.scalar(
        select(func.count())
        .select_from(Reproduction)
        .join(
            Attempt,
            and_(Attempt.reproduction_id == Reproduction.reproduction_id, Attempt.number == Reproduction.attempt),
        )
        .where(Reproduction.state.in_(IN_FLIGHT), or_(put_off, unstored))
    )
    yield _one(
        "reprofarm_runs_awaiting_store",
        "Runs that are done and wait for the evidence store: to take their log, or to give it back to be checked.",
        waiting or 0,
    )
    looked = session.get(Marker, REAPER_LOOKED) or session.get(Marker, AWAITED)
    if looked is not None:
        yield _one(
            "reprofarm_reaper_age_seconds",
            "How long ago a control worker did what beat has it do every few seconds: looked for what got lost; on a"
            " farm of which none has, since when one is awaited.",
            # Of a clock that was set back meanwhile too: no reaper that works leaves a time to come.
            abs((at - looked.at).total_seconds()),
        )


def _hub(session: Session, rules: PublishRules, at: datetime) -> Iterator[Metric]:
    scanned = session.get(Marker, HUB_SCANNED) or session.get(Marker, AWAITED)
    if scanned is not None:
        yield _one(
            "reprofarm_scan_age_seconds",
            "How long ago a scan read the Hub to its end; on a farm of which none has, since when one is awaited.",
            _age(scanned.at, at),
        )
    yield _one(
        "reprofarm_publication_age_seconds",
        "How long the oldest publication that is to be written on the Hub now has been due.",
        _age(session.scalar(select(func.min(Publication.due_at)).where(is_due(rules))), at),
    )


def _budget(session: Session, budget: BudgetRules, at: datetime) -> Iterator[Metric]:
    left = GaugeMetricFamily(
        "reprofarm_budget_left_gpu_seconds",
        "What is neither spent nor planned of the day's budget (UTC); below 0 where runs were dearer than planned.",
        labels=("scope",),
    )
    limits = GaugeMetricFamily("reprofarm_budget_gpu_seconds", "The budget of a day, by scope.", labels=("scope",))
    for scope, found in budgets.of_today(session, budget, at).items():
        left.add_metric((scope,), found.limit - found.planned)
        limits.add_metric((scope,), found.limit)
    yield left
    yield limits


def _hub_limits(session: Session, at: datetime) -> Iterator[Metric]:
    left = GaugeMetricFamily(
        "reprofarm_hub_requests_left",
        "Requests that the Hub will still answer in its present window, as it last told the control plane.",
        labels=("resource",),
    )
    quota = GaugeMetricFamily(
        "reprofarm_hub_requests_quota", "Requests that the Hub answers in one window.", labels=("resource",)
    )
    for row in session.scalars(select(HubLimit).order_by(HubLimit.resource)):
        # All of it, where the window that was spoken of is over; and nobody knows, where that was not said.
        remaining = row.remaining if at < row.resets_at else row.quota
        if remaining is not None:
            left.add_metric((row.resource,), remaining)
        if row.quota is not None:
            quota.add_metric((row.resource,), row.quota)
    yield left
    yield quota


def _age(then: datetime | None, at: datetime) -> float:
    return max(0.0, (at - then).total_seconds()) if then else 0.0


def _one(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, value=value)


def _by_state(name: str, documentation: str, numbers: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, documentation, labels=("state",))
    for state, number in numbers.items():
        family.add_metric((str(state),), number)
    return family


def _counter(
    name: str, documentation: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]
) -> CounterMetricFamily:
    """A counter; Prometheus' text adds `_total` to its name."""
    family = CounterMetricFamily(name, documentation, labels=labels)
    for value, number in values.items():
        family.add_metric([str(each) for each in value], number)
    return family
