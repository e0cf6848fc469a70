"""What the API says and takes, version 1, of outgoing webhooks. The rules of `specs.api_v1.views` hold here too."""

from __future__ import annotations

import difflib
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field

from specs.api_v1.access import Asked
from specs.api_v1.events import KINDS
from specs.api_v1.views import View

Kind = Annotated[str, Field(pattern=r"^[a-z_]{1,20}\.(\*|[a-z_]{1,50})$")]
"""As it is stored: another version of the farm may know more of them."""

KNOWN_KINDS = tuple(f"{subject}.{what}" for subject, whats in KINDS.items() for what in ("*", *whats))


def _known(kind: str) -> str:
    if kind not in KNOWN_KINDS:
        meant = difflib.get_close_matches(kind, KNOWN_KINDS, n=1)
        hint = f"; perhaps {meant[0]} is meant" if meant else ""
        raise ValueError(f"no event is of this kind{hint} (docs/dashboard.md lists all)")
    return kind


KnownKind = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": list(KNOWN_KINDS)})]
RepoId = Annotated[str, Field(min_length=1, max_length=200)]


class WebhookFilter(Asked):
    """Which events somebody is told of. What is left out does not narrow."""

    kinds: Annotated[tuple[Kind, ...], Field(max_length=50)] = ()
    """Subject and what happened to it, `claim.decided` say; `claim.*` is all of a subject. Empty is everything."""

    model: RepoId | None = None
    """Only claims, reproductions and badges of that model."""

    dataset: RepoId | None = None
    """Only claims, reproductions and badges on that benchmark."""

    def takes(self, kind: str) -> bool:
        """Whether events of a kind are told."""
        return not self.kinds or kind in self.kinds or f"{kind.partition('.')[0]}.*" in self.kinds


class WantedFilter(WebhookFilter):
    """The filter of a new webhook: of kinds that there are, or nobody would ever be told."""

    kinds: Annotated[tuple[KnownKind, ...], Field(max_length=50)] = ()
    """Subject and what happened to it, `claim.decided` say; `claim.*` is all of a subject. Empty is everything."""


class NewWebhook(Asked):
    """Somebody who is to be told."""

    url: Annotated[str, Field(min_length=10, max_length=2000)]
    """`https://…`, or `http://…`. Not to this machine or a private network, unless the farm's operator allows that."""

    filter: WantedFilter = WantedFilter()


class WebhookView(View):
    """Somebody who is told."""

    id: str
    url: str
    filter: WebhookFilter
    created_by: str
    created_at: datetime
    enabled: bool
    """False once it was removed."""


class CreatedWebhook(WebhookView):
    """A new webhook, with what is shown this once."""

    secret: str
    """`whsec_…`: with it the receiver checks each message, as https://www.standardwebhooks.com says."""


class DeliveryView(View):
    """A message to a webhook, and what became of it."""

    id: str
    """Its `webhook-id`, the same at each try: a receiver that knows it already has it already."""

    kind: str
    event_id: int | None
    """Null for a test."""

    created_at: datetime
    tries: int
    tried_at: datetime | None
    delivered_at: datetime | None
    next_try_at: datetime | None
    """Null once it was taken, and where it was given up."""

    status: int | None
    """HTTP status of the last answer; null where there was none."""

    detail: str
    """Why it was not taken."""
