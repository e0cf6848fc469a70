"""What the control worker does regularly; scheduler/schedule.py says when."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import cache

from scheduler.badges import issuing
from scheduler.badges.publications import want_mismatches
from scheduler.badges.revoking import revoke_left_over
from scheduler.collect import workforce
from scheduler.control_worker import process, sending
from scheduler.database.expiring_locks import Held, held
from scheduler.database.session import Database
from scheduler.messaging import outbox
from scheduler.messaging.broker import forget_queues, own_queues
from scheduler.messaging.refused import count_refused
from scheduler.metrics import old_loads
from scheduler.planning import planning
from scheduler.publish.due import publish_due
from scheduler.reaping.reaper import reap
from scheduler.requests import requesting
from scheduler.requests.comment_commands import take_commands
from scheduler.requests.repeating import repeat_stale
from scheduler.schedule import COMMENTS, DISPATCH, PLAN, PUBLISH, REAP, REVERIFY, SCAN, SIGN, TELL, TIDY
from scheduler.watch.scan import scan
from scheduler.watch.staleness import mark_stale
from scheduler.webhooks import delivery
from specs.errors import HubAway, NoAccess

log = logging.getLogger(__name__)

ROUNDS = 10
"""Of planning in one task; where more waits, another follows at once, between which a worker can be shut down."""


def looking_at_hub(database: Database) -> AbstractContextManager[Held]:
    """`held`, for looks at the Hub: two at one model at once would both make its claims."""
    return held(database, SCAN, timedelta(minutes=30))


@process.app.task(name=SCAN)
def scan_hub() -> None:
    """Look for new, changed and withdrawn claims."""
    farm = process.farm()
    with looking_at_hub(farm.database) as mine:
        if mine:
            try:
                scan(farm.database, farm.hub, farm.policy.watch, mine.lasts)
            except (HubAway, NoAccess) as error:
                log.warning("scan put off: %s", error)
            sending.at_once(plan_claims)


@process.app.task(name=PLAN)
def plan_claims() -> None:
    """Give every new claim a reproduction, a verdict or a reason to wait."""
    farm = process.farm()
    more = False
    with held(farm.database, PLAN, timedelta(minutes=10)) as mine:
        if mine:
            for _ in range(ROUNDS):
                planned = planning.plan(farm.database, farm.hub, farm.policy)
                more = planned == planning.PLANNED_AT_ONCE
                if planned:
                    # By another thread: this one would also do what reports ask of it meanwhile, and plan nothing.
                    sending.at_once(dispatch_batches)
                if not more or not mine.lasts():
                    break
    if more:
        sending.at_once(plan_claims)


@process.app.task(name=DISPATCH)
def dispatch_batches() -> None:
    """Fill the pools' queues."""
    sending.send_out()


@process.app.task(name=REAP)
def reap_lost() -> None:
    """Set right what got lost."""
    farm = process.farm()
    reap(farm.database, farm.policy, sending.queued_ids, sending.withdraw)
    count_refused(process.app, farm.database)


@process.app.task(name=TIDY)
def tidy_outbox() -> None:
    """Drop messages that were sent, and workers that were seen, long ago."""
    farm = process.farm()
    # After a day's downtime a request that nobody answered is as old as what is dropped, and is given up on the record.
    requesting.send_lost_again(farm.database)
    outbox.tidy(farm.database)
    workforce.tidy(farm.database)
    old_loads.put_together(farm.database)
    forget_queues(process.app, own_queues(process.app) - workforce.own_queues(farm.database))
    delivery.forget_old(farm.database)


@process.app.task(name=REVERIFY)
def reverify_stale() -> None:
    """Find what is stale, and have it verified again where policy wants that; send requests again that are due."""
    farm = process.farm()
    requesting.send_lost_again(farm.database)
    with held(farm.database, REVERIFY, timedelta(minutes=10)) as mine:
        if mine:
            mark_stale(farm.database, farm.policy)
            repeat_stale(farm.database, farm.policy.reverify)


@process.app.task(name=COMMENTS)
def read_comments() -> None:
    """Take requests for re-verification from comments on the Hub."""
    farm = process.farm()
    with held(farm.database, COMMENTS, timedelta(minutes=10)) as mine:
        if mine:
            take_commands(farm, mine.lasts)


@process.app.task(name=TELL)
def tell_webhooks() -> None:
    """Tell others what happened."""
    farm = process.farm()
    if delivery.any_webhook(farm.database):
        with held(farm.database, TELL, timedelta(minutes=10)) as mine:
            if mine:
                delivery.write_messages(farm.database)
                delivery.send_due(farm.database, private=farm.settings.webhook_private_addresses)


@process.app.task(name=SIGN)
def sign_verdicts() -> None:
    """Make the badges that verified claims lack."""
    with held(process.farm().database, SIGN, timedelta(minutes=10)) as mine:
        if mine:
            _missing_badges().sign()


@process.app.task(name=PUBLISH)
def publish_verdicts() -> None:
    """Write on the Hub what is due."""
    farm = process.farm()
    with held(farm.database, PUBLISH, timedelta(minutes=10)) as mine:
        if mine:
            revoke_left_over(farm.database)
            want_mismatches(farm.database, farm.policy.publish)
            publish_due(farm, mine.lasts)


@cache
def _missing_badges() -> issuing.Missing:
    return issuing.Missing(process.farm())
