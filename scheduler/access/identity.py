"""Who somebody is on the Hub, and for which namespaces they may speak, out of what its userinfo says.

Fields: https://huggingface.co/docs/hub/oauth, and `UserInfo` of @huggingface/hub 2.4 (lib/oauth-handle-redirect.ts).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from specs.errors import SignInError

ADMINISTERS = "admin"
"""Of the roles admin, write, contributor and read, the one that acts for an organisation: who may write there may put
results into its repos, and has them verified by that; but a request spends GPU time in the organisation's name."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")

MAX_ORGANISATIONS = 1000


class _Said(BaseModel):
    """Others' answer: what it says besides is passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Organisation(_Said):
    preferred_username: str
    """The namespace. `name` is for display, and anybody can choose any."""

    role: Annotated[str | None, Field(alias="roleInOrg")] = None
    """None where the organisation did not let the farm's application see it."""

    missing_mfa: Annotated[bool, Field(alias="missingMFA")] = False
    pending_sso: Annotated[bool, Field(alias="pendingSSO")] = False
    restrictions: Annotated[list[str] | None, Field(alias="securityRestrictions")] = None

    @property
    def is_in_force(self) -> bool:
        """The Hub lets the user act there: all steps that the organisation asks of its members are done."""
        return not (self.missing_mfa or self.pending_sso or self.restrictions)


class _UserInfo(_Said):
    sub: Annotated[str, Field(min_length=1, max_length=200)]
    preferred_username: str
    orgs: Annotated[list[_Organisation], Field(max_length=MAX_ORGANISATIONS)] = []


@dataclass(frozen=True)
class Identity:
    """Somebody, as the Hub describes them."""

    user: str
    subject: str
    """Stays when the name changes."""

    organisations: frozenset[str]
    """Those that they belong to, in whatever role."""

    namespaces: frozenset[str]
    """Those that they administer: their own, and the organisations where the Hub says `admin`."""


def identity_of(userinfo: object) -> Identity:
    """Who a userinfo answer describes.

    Raises:
        SignInError: it is no such answer, or has a name that no namespace can have.
    """
    try:
        said = _UserInfo.model_validate(userinfo)
    except ValidationError as error:
        fields = ", ".join(sorted({".".join(map(str, each["loc"])) for each in error.errors()}))
        raise SignInError(f"the Hub's description of the user is not understood: {fields[:200]}") from error
    if not _NAME.fullmatch(said.preferred_username):
        raise SignInError("the Hub calls the user what no namespace is called")
    named = [each for each in said.orgs if _NAME.fullmatch(each.preferred_username) and each.is_in_force]
    administered = {each.preferred_username for each in named if each.role == ADMINISTERS}
    return Identity(
        user=said.preferred_username,
        subject=said.sub,
        organisations=frozenset(each.preferred_username for each in named),
        namespaces=frozenset({said.preferred_username, *administered}),
    )
