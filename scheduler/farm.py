"""What a control-plane process holds: settings, policy, database, Hub."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from scheduler.database.session import Database
from scheduler.hub.hub import Hub
from scheduler.settings import Settings
from scheduler.telemetry.record_log import log_changes
from scheduler.telemetry.spans import trace_changes
from specs.policy.rules import Policy, read_policy
from specs.processes.spans import Spans, open_spans


@dataclass(frozen=True)
class Farm:
    """The control plane's possessions, each made when it is first needed."""

    settings: Settings

    @cached_property
    def policy(self) -> Policy:
        """The operator's rules, read once: a changed file counts from the next start."""
        return read_policy(self.settings.policy)

    @cached_property
    def database(self) -> Database:
        """The truth."""
        found = Database(self.settings.database_url)
        log_changes(found)
        trace_changes(found, self.spans)
        return found

    @cached_property
    def spans(self) -> Spans:
        """Tells the collector of traces that the environment names, if it does."""
        return open_spans("reprofarm-control")

    @cached_property
    def hub(self) -> Hub:
        """The Hub, as this farm's user sees it."""
        token = self.settings.hub_token
        return Hub(
            self.settings.hub_endpoint, token.get_secret_value() if token else None, self.settings.request_seconds
        )
