"""From the source that a claim names to the Inspect log behind it: only from the farm's own Hub, and only for so long.

Nothing hangs on it but samples saved. So whatever goes wrong becomes a reason on the claim, and the run goes ahead.
"""

from __future__ import annotations

import re
import tempfile
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from sqlalchemy import update

from scheduler.database.session import Database
from scheduler.database.tables import Claim, now
from scheduler.hub.answers import HubFile, RepoType
from scheduler.hub.hub import Hub
from scheduler.hub.hub_errors import Missing
from specs.errors import HubAway, NoAccess, SubmissionError
from specs.ids import has_namespace, is_repo_id
from specs.logs.linked_log import LinkedLogReading
from specs.logs.linked_log_file import MAX_FILE_BYTES, MAX_REASON_CHARS, read_linked_log
from specs.logs.run_log import MIB
from specs.policy.verification import Scale
from specs.text import clean, is_clean

SUFFIX = ".eval"

LOG_SECONDS = 120.0
"""To fetch and read one log: enough for the largest at 5 MiB a second."""

ROUND_SECONDS = 30.0
"""After so much reading in one round of planning, further claims with logs to read wait for the next round."""

HUB_PATIENCE = timedelta(hours=1)
"""A claim whose log the Hub does not hand out for so long is run without it."""

READINGS = 3
"""Of one log, where whoever reads it is lost each time: it may be what they died of."""

# Between repo and revision in an address: the page of a file, the file, and the file unless it is a large one.
_WAYS = frozenset({"blob", "resolve", "raw"})
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/\-]{0,199}")
_PULL_REQUEST = ("refs", "pr")
_PORTS = {"http": 80, "https": 443}


class NotFollowed(Exception):  # noqa: N818 - a condition, not a mistake
    """Why a link is not followed."""


class NotNow(Exception):  # noqa: N818 - a condition, not a mistake
    """This round has read for long enough."""


@dataclass
class LinkedLogs:
    """Reads the logs that claims link to, in one round of planning."""

    database: Database
    hub: Hub
    _seconds_left: float = field(default_factory=lambda: ROUND_SECONDS, init=False)

    def read(self, claim: Claim, value: float, scale: Scale) -> LinkedLogReading | None:
        """What the log says that the claim links to; None where it links to none.

        Raises:
            HubAway: the Hub does not hand it out now; the next round tries again.
            NotNow: the next round reads it.
        """
        url = claim.source_url
        if url is None or not links_to_a_log(url):
            return None
        if claim.linked_log is not None:
            before = LinkedLogReading.model_validate(claim.linked_log, strict=False)
            if before.log is not None and before.url == url:
                return before
        try:
            linked = self._followed(claim, url)
        except NotFollowed as error:
            return _refused(url, str(error))
        if self._seconds_left <= 0:
            raise NotNow
        start = time.monotonic()
        try:
            return self._read(claim, linked, url, value, scale)
        except HubAway as error:
            if now() - claim.since < HUB_PATIENCE:
                raise
            return _refused(url, f"the Hub did not hand it out: {error}")
        except OSError as error:
            return _refused(url, f"this farm could not keep it: {type(error).__name__}; its operator must act")
        finally:
            self._seconds_left -= time.monotonic() - start

    def _followed(self, claim: Claim, url: str) -> HubFile:
        if claim.log_readings >= READINGS:
            raise NotFollowed(f"whoever read it was lost, {READINGS} times; the farm's operator must look")
        return linked_file(url, self.hub.endpoint)

    def _read(self, claim: Claim, linked: HubFile, url: str, value: float, scale: Scale) -> LinkedLogReading:
        end = time.monotonic() + LOG_SECONDS

        def is_late() -> bool:
            return time.monotonic() > end

        with tempfile.TemporaryDirectory(prefix="reprofarm-linked-log-") as folder:
            copy = Path(folder) / "log.eval"
            try:
                self.hub.download_file(linked, copy, MAX_FILE_BYTES, is_late)
            except Missing:
                return _refused(url, f"{linked.repo_id} has no {linked.path} at {linked.revision}")
            except NoAccess:
                return _refused(url, f"not everybody may read {linked.repo_id}: put the log into a public repo")
            except SubmissionError as error:
                limits = f"{MAX_FILE_BYTES // MIB} MiB and {LOG_SECONDS:.0f} seconds are what this farm gives it"
                return _refused(url, f"{error}; {limits}")
            self._note(claim, claim.log_readings + 1)
            reading = read_linked_log(copy, url, value, scale, is_late)
            self._note(claim, 0)
            return reading

    def _note(self, claim: Claim, readings: int) -> None:
        """How often its log was begun to be read, for whoever comes after a process that ends meanwhile."""
        with self.database.transaction() as session:
            session.execute(update(Claim).where(Claim.claim_id == claim.claim_id).values(log_readings=readings))


def links_to_a_log(url: str) -> bool:
    """Whether an address is one of an Inspect log, wherever it is."""
    try:
        # As it is written, so that a query of the database can tell it too.
        return urlsplit(url).path.endswith(SUFFIX)
    except ValueError:
        return False


def linked_file(url: str, endpoint: str) -> HubFile:
    """The file that an address on a Hub stands for: `ENDPOINT/[datasets/]OWNER/NAME/blob/REVISION/PATH`.

    `resolve` and `raw` may stand for `blob`; a query (`?download=true`) and a fragment say nothing of which file it is.

    Raises:
        NotFollowed: it is elsewhere, or of another form.
    """
    try:
        address, hub = urlsplit(url), urlsplit(endpoint)
    except ValueError as error:
        raise NotFollowed("no web address, so not read") from error
    base = hub.path.rstrip("/") + "/"
    if _origin(address) is None or _origin(address) != _origin(hub) or not address.path.startswith(base):
        raise NotFollowed(f"not on the Hub ({endpoint}), so not read")
    parts = [_decoded(part) for part in address.path.removeprefix(base).split("/")]
    repo_type: RepoType = "model"
    if parts[0] == "datasets":
        repo_type, parts = "dataset", parts[1:]
    owner_and_name, way, rest = "/".join(parts[:2]), parts[2:3], parts[3:]
    if len(rest) > len(_PULL_REQUEST) and tuple(rest[:2]) == _PULL_REQUEST:
        rest = ["/".join(rest[:3]), *rest[3:]]
    if (
        len(rest) < 2
        or way[0] not in _WAYS
        or not (has_namespace(owner_and_name) and is_repo_id(owner_and_name))
        or not _REVISION.fullmatch(rest[0])
        or any(step in {"", ".", ".."} for step in "/".join(rest).split("/"))
    ):
        form = f"{endpoint}/[datasets/]OWNER/NAME/blob/REVISION/PATH{SUFFIX}"
        raise NotFollowed(f"not the address of a file in a model or dataset repo ({form}), so not read")
    return HubFile(repo_type, owner_and_name, rest[0], "/".join(rest[1:]))


def _refused(url: str, reason: str) -> LinkedLogReading:
    return LinkedLogReading(url=url, log=None, reason=clean(reason, MAX_REASON_CHARS))


def _origin(address: SplitResult) -> tuple[str, str, int] | None:
    """Scheme, host and port; None where there is no host, or a user's name before it."""
    try:
        port = address.port or _PORTS[address.scheme]
    except (ValueError, KeyError):
        return None
    if not address.hostname or "@" in address.netloc:
        return None
    return address.scheme, address.hostname, port


def _decoded(part: str) -> str:
    """One step of a path, its escapes resolved once."""
    try:
        text = unquote(part, errors="strict")
    except UnicodeDecodeError as error:
        raise NotFollowed("its address is not UTF-8, so not read") from error
    if not is_clean(text) or "\\" in text:
        raise NotFollowed("its address holds characters that no file on the Hub has, so not read")
    return text
