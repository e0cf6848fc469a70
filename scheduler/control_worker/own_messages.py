"""What the control worker does when the farm itself says so: the API or another task, by way of the outbox."""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy.exc import IntegrityError

from scheduler.collect.retrying import retry_delay_seconds
from scheduler.control_worker import process
from scheduler.control_worker.refusing import decoded
from scheduler.control_worker.regular import looking_at_hub
from scheduler.database.postgres import AWAY
from scheduler.dispatch.fetch_ahead_hints import HINT
from scheduler.hub.answers import RepoType
from scheduler.messaging.broker import tell_to_drop, tell_to_fetch
from scheduler.requests import requesting
from scheduler.requests.intervening import DROP
from scheduler.requests.requesting import LOOK_AT_WANTED
from scheduler.watch import announced_repos, announcements
from specs.errors import HubAway
from specs.messages import AttemptRef, FetchAhead

log = logging.getLogger(__name__)

BUSY_SECONDS = 10.0
"""Until a model that somebody asked for is tried again while a scan goes on: between two there may be no more."""


@process.app.task(name=DROP)
def drop_attempt(body: dict[str, Any]) -> None:
    """Tell a worker to stop an attempt that an operator cancelled."""
    try:
        ref = AttemptRef(reproduction_id=str(body["reproduction_id"]), attempt=int(body["attempt"]))
        worker, batch_id = str(body["worker"]), str(body["batch_id"])
    except (LookupError, TypeError, ValueError) as error:
        log.error("message refused: %s", type(error).__name__)
        return
    tell_to_drop(process.app, worker, ref, batch_id)


@process.app.task(name=HINT)
def pass_hint_on(body: dict[str, Any]) -> None:
    """Tell a worker what it is likely to need next."""
    try:
        worker, hint = str(body["worker"]), body["hint"]
    except (LookupError, TypeError) as error:
        log.error("message refused: %s", type(error).__name__)
        return
    message = decoded(FetchAhead, hint)
    if message is not None:
        tell_to_fetch(process.app, worker, message)


@process.app.task(name=LOOK_AT_WANTED, bind=True, max_retries=None)
def look_at_wanted(self: Any, _body: dict[str, Any]) -> None:  # a bound Celery task has no common type
    """Look at a model that somebody asks to have verified, and have it verified."""
    delay = min(retry_delay_seconds(self.request.retries + 1), requesting.LONGEST_PAUSE_SECONDS)
    farm, message_id = process.farm(), str(self.request.id)
    try:
        with looking_at_hub(farm.database) as mine:
            if mine:
                requesting.answer(farm.database, farm.hub, message_id, farm.policy.reverify)
                return
        why, delay = "another look at the Hub is under way", BUSY_SECONDS
    except HubAway as error:
        why, delay = str(error), max(error.retry_after_seconds or 0.0, delay)
    except IntegrityError:
        why = "its claims changed while it was looked at"
    except AWAY as error:
        # Nor can be looked up for how long it was tried.
        log.warning("a model that was asked for is looked at later: %s", type(error).__name__)
        raise self.retry(countdown=delay) from error
    if not requesting.goes_on(farm.database, message_id, why, delay):
        log.warning("gave up on a model that was asked for: %s", why)
    elif not requesting.waits_in_outbox(delay):
        raise self.retry(countdown=delay)


@process.app.task(name=announcements.LOOK_AT_REPO)
def look_at_repo(body: dict[str, Any]) -> None:
    """Look at one repo that the Hub says has changed."""
    try:
        repo_type: RepoType = "model" if body["repo_type"] == "model" else "dataset"
        repo_id = str(body["repo_id"])
    except (LookupError, TypeError) as error:
        log.error("message refused: %s", type(error).__name__)
        return
    farm = process.farm()
    with looking_at_hub(farm.database) as mine:
        if mine:
            announced_repos.look(farm.database, farm.hub, repo_type, repo_id)
        else:
            announced_repos.put_off(farm.database, repo_type, repo_id)
