"""Whatever is asked, the API answers as its own document says: made-up requests to a live farm with rows in all states.

REPROFARM_API_EXAMPLES says how many for each address; `make schemathesis` tries more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import allow_header_conformance, positive_data_acceptance

from scheduler.access import tokens
from scheduler.state_machine import ClaimState
from specs.api_v1.access import NewToken
from specs.judging.verdict import Outcome
from tests.support.api import RunningApi, running_api
from tests.support.rows import comparison

EXAMPLES = int(os.environ.get("REPROFARM_API_EXAMPLES", "4"))

NOT_CHECKED = (
    # A cursor is any text to the document, and only what a list gave out to the API.
    positive_data_acceptance,
    # Starlette's 405 names the methods of the first of several routes with one address.
    allow_header_conformance,
)


ANY_METHOD = {"get", "post", "trace"}
"""Tried where an address does not take it, which is the framework's to say. By itself Schemathesis tries eight."""


class Operator:
    """Who asks, with a token of the farm under test. Schemathesis also asks without it, and with others."""

    token = ""

    def get(self, _case: Case[Any], _context: schemathesis.AuthContext) -> str:
        """The token."""
        return self.token

    def set(self, case: Case[Any], data: str, _context: schemathesis.AuthContext) -> None:
        """Send it along."""
        case.headers["Authorization"] = f"Bearer {data}"


OLGA = NewToken.model_validate({"name": "olga", "scopes": ("operate",)})


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    """A farm that holds something of everything."""
    folder = tmp_path_factory.mktemp("farm")
    with running_api(folder, hub_webhook_secret="agreed upon", api_memory_mib=1) as api:
        rows = api.rows
        Operator.token = tokens.make(rows.database, OLGA, "operator:test").secret
        for dataset_id in ("acme/capitals", "squad"):
            rows.benchmark(dataset_id)
        for state in (ClaimState.SUBMITTED, ClaimState.BLOCKED, ClaimState.REJECTED):
            rows.event("claim", rows.claim(state=state), state)
        rows.claim("gpt2", dataset_id="squad", task_id=None)
        rows.claim(dataset_id=None, task_id=None, value=None, state=ClaimState.REJECTED)
        rows.claim(state=ClaimState.WITHDRAWN, live=False)
        rows.planned()
        rows.running()
        for outcome in (Outcome.MISMATCH, Outcome.INCONCLUSIVE):
            rows.decided(outcome, found=comparison())
        for outcome in (Outcome.FAILED, Outcome.UNSUPPORTED, Outcome.INCONCLUSIVE):
            rows.decided(outcome)
        verified = rows.verified()
        rows.publication(verified, tries=1, reason="the Hub is away")
        rows.noise_pair()
        yield api


@pytest.fixture(scope="module")
def document(farm: RunningApi) -> BaseSchema:
    """The API's own description."""
    described = schemathesis.openapi.from_dict(farm.json("/openapi.json"))
    described.config.phases.coverage.unexpected_methods = ANY_METHOD
    return described


@pytest.fixture(autouse=True)
def _nodeid(request: pytest.FixtureRequest) -> None:
    """Schemathesis reads and sets an attribute of tests that pytest calls differently since 9.2."""
    request.node._nodeid = request.node.nodeid


# Requests are made up, with the farm's token, when the test runs: while tests are collected there is no token yet, and
# each of the processes that share the tests would take seconds for it. No /readyz, for there is no broker here.
api = schemathesis.pytest.from_fixture("document").exclude(path="/readyz")
api.auth()(Operator)


@api.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="REPROFARM_API_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_the_document_says(case: Case[Any], farm: RunningApi) -> None:
    case.call_and_validate(base_url=farm.url, excluded_checks=[*NOT_CHECKED])
