"""Where the control plane finds its things. Read once, at start, from the environment (`REPROFARM_…`)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from specs.logs.evidence import EvidenceUrl
from specs.processes.hub_endpoint import HubEndpoint
from specs.processes.log_lines import LogFormat
from specs.processes.secrets import SecretUrl, secrets_in
from specs.validation_errors import settings_from

PREFIX = "REPROFARM_"

CLOCKS_DIFFER_SECONDS = 10.0
"""How far the clocks of a farm's machines may be apart: what one dates and another looks at has so much more time."""


def _split(value: object) -> object:
    return [name for part in value.split(",") if (name := part.strip())] if isinstance(value, str) else value


def _unset(value: object) -> object:
    # As `VARIABLE=` in a file of variables, and `${VARIABLE:-}` in compose's: no secret is not an empty one.
    return None if value == "" else value


Text = Annotated[str | None, BeforeValidator(_unset)]
Secret = Annotated[SecretStr | None, BeforeValidator(_unset)]
File = Annotated[Path | None, BeforeValidator(_unset)]
"""Settings that need not be set; an empty value is none."""

BY_ID = "id:"
"""Before an id of the Hub's, which anybody could take for a user name: none has a colon."""


def _with_marked_ids(names: tuple[str, ...]) -> tuple[str, ...]:
    if any(re.fullmatch(r"[0-9a-fA-F]{24}", name) for name in names):
        # As the name that it would be, it is free for whoever registers it.
        raise ValueError(f"has what looks like an id of the Hub's and is not marked as one: write {BY_ID} before it")
    return names


People = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_with_marked_ids)]
"""Names, and ids after `id:`, with commas between them."""


class Settings(BaseSettings):
    """Settings of every control-plane process: control worker, beat, API and the operator's commands."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # it may be a password
    )

    database_url: str = "sqlite:///var/reprofarm.db"
    """SQLAlchemy's form; `postgresql+psycopg://…` in production."""

    broker_url: SecretUrl = SecretStr("redis://127.0.0.1:6379/0")
    hub_endpoint: HubEndpoint = "https://huggingface.co"
    hub_token: Secret = None
    """Needed to publish and to read gated repos; without it the farm reads what is public."""

    evidence_url: EvidenceUrl = "file://var/evidence"
    """An fsspec URL of a folder that workers write and the control plane reads."""

    signing_key: Path = Path("var/keys/signing.pem")
    retired_keys: Path = Path("var/keys/retired")
    """Folder of public JWK files of earlier signing keys."""

    policy: File = None
    """None is the built-in policy."""

    public_url: str = "http://127.0.0.1:8000"
    """Where the API is reached from outside: issuer of badges and base of evidence links."""

    api_host: str = "127.0.0.1"
    """Where the API listens."""

    api_port: int = Field(default=8000, ge=0, le=65_535)
    api_look_seconds: float = Field(default=0.5, gt=0, le=60)
    """How often each API process looks whether anything changed: what it answers is so old at most."""

    api_memory_mib: int = Field(default=32, ge=0)
    """For answers that each API process remembers while nothing changes; 0 works out every answer anew."""

    api_event_clients: int = Field(default=200, ge=0)
    """So many follow `/v1/events` of one API process at once, at most."""

    api_origins: str = "*"
    """Origins of pages that may read the API from a browser, by commas; `*` is all, and nothing is none."""

    hub_webhook_secret: Secret = None
    """What the Hub's webhook sends as its secret; None takes no webhooks."""

    webhook_private_addresses: bool = False
    """Whether outgoing webhooks may go to addresses of this machine and of private networks."""

    request_seconds: float = Field(default=30.0, gt=0)
    """Patience with one request to the Hub."""

    public_reading: bool = True
    """Whether anybody may read. If not, all but a few addresses ask for a token or session with the scope `read`."""

    public_metrics: bool = True
    """Whether anybody who reaches the API may read `/metrics`."""

    hub_oauth_client_id: Text = None
    """Of the farm's OAuth application on the Hub; without it, nobody can sign in."""

    hub_oauth_client_secret: Secret = None
    """Of the same; None where the Hub gave none (a public application)."""

    operators: People = ()
    """Users of the Hub, by name or as `id:` and the Hub's id, who operate the farm when they are signed in."""

    readers: People = ()
    """Users, named in the same way, and organisations of the Hub whose people may read, once signed in, where reading
    is not public; `*` is everybody."""

    session_hours: float = Field(default=12.0, gt=0, le=24 * 30)
    """How long a sign-in holds; what somebody administers is looked up when they sign in."""

    reads_per_minute: int = Field(default=3000, ge=0)
    """Of one caller (of one address, where anonymous) and API process. 0 sets no limit."""

    actions_per_hour: int = Field(default=120, ge=0)
    """Of one caller who does not operate, over all API processes. 0 sets no limit."""

    proxies: int = Field(default=0, ge=0, le=10)
    """Reverse proxies before the API that add the address they see to `X-Forwarded-For`; 0 believes no such header."""

    liveness_file: File = None
    """Touched by the control worker whenever it takes a message, and by beat whenever it sends one, for a probe that
    looks at its age. Beat sends one every two seconds, so an old file means that who lives does nothing. Each has a
    file of its own."""

    log_format: LogFormat = "text"
    """`json` logs lines of JSON, with what each is about in fields of its own."""

    @property
    def secrets(self) -> frozenset[str]:
        """All that must not be shown of these settings and of this process's environment."""
        urls = (self.database_url, self.broker_url.get_secret_value(), self.hub_endpoint, self.evidence_url)
        kept = (self.hub_token, self.hub_oauth_client_secret, self.hub_webhook_secret)
        return secrets_in(urls, [each.get_secret_value() if each else None for each in kept], os.environ)


def read_settings() -> Settings:
    """The settings in this process's environment.

    Raises:
        PolicyError: a setting is wrong; the operator must act.
    """
    return settings_from(Settings, PREFIX)
