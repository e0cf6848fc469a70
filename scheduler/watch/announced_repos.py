"""A look at one repo whose change the Hub has announced."""

from __future__ import annotations

import logging
from contextlib import suppress

from sqlalchemy.exc import IntegrityError, OperationalError

from scheduler.database.postgres import is_deadlock
from scheduler.database.session import Database
from scheduler.database.tables import Benchmark
from scheduler.hub.answers import RepoType
from scheduler.hub.hub import Hub
from scheduler.hub.hub_errors import Gone, Moved
from scheduler.watch.benchmarks import look_at_benchmark
from scheduler.watch.claims import withdraw_all
from scheduler.watch.due_models import mark_due
from scheduler.watch.leaderboards import look_at_leaderboard
from scheduler.watch.models import look_at_model
from specs.errors import HubAway, NoAccess, SubmissionError

log = logging.getLogger(__name__)


def look(database: Database, hub: Hub, repo_type: RepoType, repo_id: str) -> None:
    """Bring what is known of one repo up to date. What cannot be read now, the next scan reads."""
    try:
        if repo_type == "model":
            look_at_model(database, hub, repo_id, hub.own_name())
        else:
            _look_at_benchmark(database, hub, repo_id)
    except Moved as moved:
        if repo_type == "model":
            withdraw_all(database, repo_id, moved.now_at)
    except Gone:
        if repo_type == "model":
            withdraw_all(database, repo_id)
    except (HubAway, NoAccess, SubmissionError) as error:
        log.warning("%s %s, announced as changed, not read: %s", repo_type, repo_id, error)
        put_off(database, repo_type, repo_id)
    except IntegrityError:
        log.warning("%s %s, announced as changed, changed here too while it was read", repo_type, repo_id)
        put_off(database, repo_type, repo_id)
    except OperationalError as error:
        if not is_deadlock(error):
            raise
        log.warning("%s %s, announced as changed, not read: others changed it in another order", repo_type, repo_id)
        put_off(database, repo_type, repo_id)


def put_off(database: Database, repo_type: RepoType, repo_id: str) -> None:
    """Leave a repo to the next scan, which looks at benchmarks anyway."""
    if repo_type == "model":
        # Of a model that another process enters at this moment there is a row, which is due as it is new.
        with suppress(IntegrityError), database.transaction() as session:
            mark_due(session, {repo_id})


def _look_at_benchmark(database: Database, hub: Hub, dataset_id: str) -> None:
    with database.reading() as session:
        known = session.get(Benchmark, dataset_id)
    # Which datasets are watched is policy's to say, or the Hub's list; whoever announces one does not make it so.
    if known is not None and known.unlisted_at is None:
        look_at_benchmark(database, hub, dataset_id)
        look_at_leaderboard(database, hub, dataset_id)
