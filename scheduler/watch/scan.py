"""One look at the Hub: benchmarks, their leaderboards, and the models whose results may have changed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from scheduler.database.postgres import is_deadlock
from scheduler.database.session import Database
from scheduler.database.tables import Marker, Model, now
from scheduler.database.tables.marker import HUB_SCANNED
from scheduler.hub.hub import Hub
from scheduler.hub.hub_errors import Gone, Moved
from scheduler.own_faults import OURS
from scheduler.watch.benchmarks import look_at_benchmarks
from scheduler.watch.claims import withdraw_all
from scheduler.watch.due_models import mark_due
from scheduler.watch.leaderboards import look_at_leaderboard
from scheduler.watch.models import look_at_model
from specs.errors import HubAway, HubBusy, NoAccess, SubmissionError
from specs.policy.watch import WatchRules

log = logging.getLogger(__name__)

LOOKS_AT_ONCE = 200
"""Models looked at in one scan, those that changed first; the rest waits for the next one."""

SWEPT = 4
"""One in so many of them is for those that were not looked at for a whole sweep, however many others there are."""


def scan(database: Database, hub: Hub, watch: WatchRules, goes_on: Callable[[], bool] = lambda: True) -> None:
    """Bring claims up to date with the Hub, as long as it `goes_on`.

    What the Hub does not answer for is read by the next scan; a model that cannot be read waits for its turn.

    Raises:
        HubAway: the Hub does not even list benchmarks, or is busy; the next scan tries again.
        NoAccess: the Hub does not list them to the farm's token.
    """
    for dataset_id in look_at_benchmarks(database, hub, watch):
        if not goes_on():
            return
        with _by_itself(f"leaderboard of {dataset_id}"):
            look_at_leaderboard(database, hub, dataset_id)
    if watch.models:
        with database.transaction() as session:
            # Of those that are known, the ones that were looked at longest ago have their turn first.
            known = session.scalars(select(Model.model_id).where(Model.model_id.in_(watch.models)))
            mark_due(session, set(watch.models) - set(known))
    own_name = hub.own_name()
    for model_id in _due(database, watch):
        if not goes_on():
            return
        with _by_itself(f"model {model_id}"):
            try:
                _look(database, hub, model_id, own_name)
            except (NoAccess, SubmissionError, *OURS):
                _put_behind(database, model_id, timedelta(0))
                raise
            except HubAway:
                _put_behind(database, model_id, timedelta(seconds=watch.sweep_seconds))
                raise
    with database.transaction() as session:
        session.merge(Marker(name=HUB_SCANNED, at=now()))


def _look(database: Database, hub: Hub, model_id: str, own_name: str | None) -> None:
    try:
        look_at_model(database, hub, model_id, own_name)
    except Moved as moved:
        withdraw_all(database, model_id, moved.now_at)
    except Gone:
        withdraw_all(database, model_id)


def _put_behind(database: Database, model_id: str, age: timedelta) -> None:
    """Enter a look that failed as one of that age, unless something announced the model meanwhile.

    Else it would be among the first of each scan, and as many of them as one scan looks at keep all others from theirs.
    What cannot be read waits for a whole sweep. Where the Hub did not answer, which may be so for that model alone and
    for ever, it stays due for the next scan, behind all that have waited for longer.
    """
    with database.transaction() as session:
        is_known = (Model.model_id == model_id, Model.looked_at.is_not(None))
        session.execute(update(Model).where(*is_known).values(looked_at=now() - age))


@contextmanager
def _by_itself(what: str) -> Iterator[None]:
    """Whatever comes of a look at one thing, the scan goes on to the next, as long as the Hub still answers."""
    try:
        yield
    except HubBusy:
        # To ask for the next is to hear the same, and counts against the farm.
        raise
    except (HubAway, NoAccess, SubmissionError) as error:
        log.warning("%s not read: %s", what, error)
    except IntegrityError:
        # Another look at the same model entered the same claim, say.
        log.warning("%s changed here too while it was read; read again", what)
    except OperationalError as error:
        if not is_deadlock(error):
            raise
        log.warning("%s not read: others changed it in another order; read again", what)
    except OURS:
        log.exception("%s: a fault of ours", what)


def _due(database: Database, watch: WatchRules) -> list[str]:
    """Models that something announced as changed, those that policy lists, and those whose turn it is."""
    before = now() - timedelta(seconds=watch.sweep_seconds)
    at_once = select(Model.model_id).limit(LOOKS_AT_ONCE)
    longest_ago = at_once.order_by(Model.looked_at)
    with database.reading() as session:
        # Three questions, each of which an index answers.
        announced = session.scalars(at_once.where(Model.looked_at.is_(None))).all()
        is_listed = (Model.model_id.in_(watch.models), Model.looked_at.is_not(None))
        listed = session.scalars(longest_ago.where(*is_listed)).all() if watch.models else []
        in_turn = session.scalars(longest_ago.where(Model.looked_at < before)).all()
    room = LOOKS_AT_ONCE - min(len(in_turn), LOOKS_AT_ONCE // SWEPT)
    first = list(dict.fromkeys([*announced, *listed]))[:room]
    return list(dict.fromkeys([*first, *in_turn]))[:LOOKS_AT_ONCE]
