"""What the API says of the rules by which the farm judges."""

from __future__ import annotations

from specs.api_v1.views import View
from specs.policy.rules import Policy


class PolicyView(View):
    """The operator's rules; nothing in them is a secret."""

    sha256: str
    """Of the policy in canonical JSON (RFC 8785), as badges name it."""

    policy: Policy
