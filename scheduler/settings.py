"""Where the control plane finds its things. Read once, at start, from the environment (`REPROFARM_…`)."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from specs.errors import PolicyError


class Settings(BaseSettings):
    """Settings of every control-plane process: control worker, beat, API and the operator's commands."""

    model_config = SettingsConfigDict(
        env_prefix="REPROFARM_", extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    database_url: str = "sqlite:///var/reprofarm.db"
    """SQLAlchemy's form; `postgresql+psycopg://…` in production."""

    broker_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    hub_endpoint: str = "https://huggingface.co"
    hub_token: SecretStr | None = None
    """Needed to publish and to read gated repos; without it the farm reads what is public."""

    evidence_url: str = "file://var/evidence"
    """An fsspec URL of a folder that workers write and the control plane reads."""

    signing_key: Path = Path("var/keys/signing.pem")
    retired_keys: Path = Path("var/keys/retired")
    """Folder of public JWK files of earlier signing keys."""

    policy: Path | None = None
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

    hub_webhook_secret: SecretStr | None = None
    """What the Hub's webhook sends as its secret; None takes no webhooks."""

    webhook_private_addresses: bool = False
    """Whether outgoing webhooks may go to addresses of this machine and of private networks."""

    request_seconds: float = Field(default=30.0, gt=0)
    """Patience with one request to the Hub."""


def read_settings() -> Settings:
    """The settings in this process's environment.

    Raises:
        PolicyError: a setting is wrong; the operator must act.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise PolicyError(f"settings: {error}") from error
