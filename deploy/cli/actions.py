"""The actions of the commands, at a farm's API with a token, or as its operator on its own database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from deploy.cli.control_plane import opened_database, operator, settings_of
from deploy.cli.ids import claim_or_reproduction
from deploy.cli.options import farm_at
from deploy.client import FarmClient
from scheduler.badges import revoking
from scheduler.database.session import Database
from scheduler.requests import approving, intervening, requesting, reverifying
from specs.api_v1.actions import Done, VerificationRequest
from specs.policy.reverify import ReverifyRules
from specs.policy.rules import read_policy


class Actions(Protocol):
    """What can be asked. Each answers what was done, line by line, and raises a `ReprofarmError` that says why not."""

    def cancel(self, target: str, why: str) -> Done:
        """Cancel a reproduction, or what is to be run for a claim."""

    def retry(self, target: str, why: str) -> Done:
        """Have what was cancelled, waits or failed tried again."""

    def reverify(self, claim_id: str, why: str) -> Done:
        """Have a decided claim verified again."""

    def approve(self, claim_id: str, why: str, *, over_budget: bool) -> Done:
        """Let a claim run that a budget holds back."""

    def verify(self, asked: VerificationRequest) -> Done:
        """Have what a model claims on a benchmark verified, or verified again."""

    def revoke(self, badge_id: str, why: str) -> Done:
        """Have a badge count no more; by its id, its claim's, or the beginning of either."""


class ApiActions:
    """As the bearer of a token, at a farm anywhere."""

    def __init__(self, farm: FarmClient) -> None:
        self._farm = farm

    def cancel(self, target: str, why: str) -> Done:
        """Cancel a reproduction, or what is to be run for a claim."""
        return self._act_on_either(target, "cancel", why)

    def retry(self, target: str, why: str) -> Done:
        """Have what was cancelled, waits or failed tried again."""
        return self._act_on_either(target, "retry", why)

    def reverify(self, claim_id: str, why: str) -> Done:
        """Have a decided claim verified again."""
        return self._farm.act_on_claim(claim_id, "reverify", why)

    def approve(self, claim_id: str, why: str, *, over_budget: bool) -> Done:
        """Let a claim run that a budget holds back."""
        return self._farm.act_on_claim(claim_id, "approve", why, over_budget=over_budget)

    def verify(self, asked: VerificationRequest) -> Done:
        """Have what a model claims on a benchmark verified, or verified again."""
        return self._farm.verify(asked)

    def revoke(self, badge_id: str, why: str) -> Done:
        """Have a badge count no more; by its id, its claim's, or the beginning of either."""
        return self._farm.revoke(badge_id, why)

    def _act_on_either(self, target: str, action: str, why: str) -> Done:
        return claim_or_reproduction(
            target,
            lambda: self._farm.act_on_claim(target, action, why),
            lambda: self._farm.act_on_reproduction(target, action, why),
        )


class DatabaseActions:
    """As the operator, on the control plane's machine."""

    def __init__(self, database: Database, rules: ReverifyRules) -> None:
        self._database = database
        self._rules = rules

    def cancel(self, target: str, why: str) -> Done:
        """Cancel a reproduction, or what is to be run for a claim."""
        return _done(intervening.cancel(self._database, target, why, operator()))

    def retry(self, target: str, why: str) -> Done:
        """Have what was cancelled, waits or failed tried again."""
        return _done(intervening.retry(self._database, target, why, operator()))

    def reverify(self, claim_id: str, why: str) -> Done:
        """Have a decided claim verified again."""
        return _done(reverifying.reverify(self._database, claim_id, why, operator(), rules=self._rules).lines)

    def approve(self, claim_id: str, why: str, *, over_budget: bool) -> Done:
        """Let a claim run that a budget holds back."""
        return _done(approving.approve(self._database, claim_id, operator(), over_budget=over_budget, why=why))

    def verify(self, asked: VerificationRequest) -> Done:
        """Have what a model claims on a benchmark verified, or verified again."""
        with self._database.reading() as session:
            meant = {claim.claim_id for claim in requesting.claims_meant(session, asked)}
        found = requesting.request_verification(self._database, asked, operator(), meant, rules=self._rules)
        return Done(lines=tuple(found.lines), claim_ids=tuple(found.claim_ids))

    def revoke(self, badge_id: str, why: str) -> Done:
        """Have a badge count no more; by its id, its claim's, or the beginning of either."""
        return _done(revoking.revoke(self._database, badge_id, why, operator()))


def _done(lines: Sequence[str]) -> Done:
    return Done(lines=tuple(lines), claim_ids=())


@contextmanager
def actions_at(api: str | None, var: Path) -> Iterator[Actions]:
    """At the farm with that API, or where that is None, at the one whose control plane is here."""
    if api is not None:
        with farm_at(api, var) as farm:
            yield ApiActions(farm)
    else:
        settings = settings_of(var)
        with opened_database(settings) as database:
            yield DatabaseActions(database, read_policy(settings.policy).reverify)
