"""Requests to verify claims, by the rules that policy has by default where a test names no others."""

from __future__ import annotations

from functools import partial

from scheduler.requests import requesting, reverifying
from specs.policy.reverify import ReverifyRules

RULES = ReverifyRules()

reverify = partial(reverifying.reverify, rules=RULES)
request_verification = partial(requesting.request_verification, rules=RULES)
answer = partial(requesting.answer, rules=RULES)
look_and_verify = partial(requesting.look_and_verify, rules=RULES)
