"""Where the control plane finds its things. Read once, at start, from the environment (`REPROFARM_…`)."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from specs.errors import PolicyError
from specs.secrets import check_url, secrets_in


class Settings(BaseSettings):
    """Settings of every control-plane process: control worker, beat, API and the operator's commands."""

    model_config = SettingsConfigDict(
        env_prefix="REPROFARM_",
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # it may be a password
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
    request_seconds: float = Field(default=30.0, gt=0)
    """Patience with one request to the Hub."""

    @field_validator("broker_url")
    @classmethod
    def _is_url(cls, value: SecretStr) -> SecretStr:
        check_url(value.get_secret_value())
        return value

    @property
    def secrets(self) -> frozenset[str]:
        """All that must not be shown of these settings and of this process's environment."""
        urls = (self.database_url, self.broker_url.get_secret_value(), self.hub_endpoint, self.evidence_url)
        token = self.hub_token.get_secret_value() if self.hub_token else None
        return secrets_in(urls, [token], os.environ)


def read_settings() -> Settings:
    """The settings in this process's environment.

    Raises:
        PolicyError: a setting is wrong; the operator must act.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise PolicyError(f"settings: {error}") from error
