"""Keeps secrets out of what people read: of addresses, and of all that a process logs.

Libraries put addresses, headers and arguments into their errors, so it is not enough that our own words hold no secret:
a process says once, at its start, which values are secret, and whatever it logs afterwards is masked.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, SecretStr

MASK = "***"
SHORTEST_CHARS = 6
"""A shorter secret is not masked: it would be found in half of all words."""

JUDGE_PREFIX = "REPROFARM_JUDGE_"
"""Keys of judge endpoints, which policy names; for workers alone."""

OF_LIBRARIES = frozenset(
    {
        *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_CONNECTION_STRING"),
        *("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CLIENT_SECRET", "HF_TOKEN", "PGPASSWORD"),
    }
)
"""What libraries of ours read by themselves: adlfs, botocore, huggingface_hub, libpq."""

_HEADERS = re.compile(r"OTEL_EXPORTER_OTLP_(?:[A-Z]+_)?HEADERS")
"""Headers for a collector of traces, such as `authorization=Bearer%20…,x-tenant=…`."""

_USER_INFO = re.compile(r"(?<=://)[^/?#\s]*@")
_CREDENTIAL = re.compile(
    r"([?&][^=&#\s]*(?:token|secret|password|passwd|key|signature|credential)[^=&#\s]*=)([^&#\s]*)", re.I
)


def masked_url(url: str) -> str:
    """An address without its user, its password and the values of credentials in its query."""
    return _CREDENTIAL.sub(rf"\1{MASK}", _USER_INFO.sub(f"{MASK}@", url))


def check_url(url: str) -> str:
    """The address itself, where its parts can be told apart.

    Raises:
        ValueError: they cannot, as with a password that holds a slash; without the address, of which libraries would
            show a part that is the password's.
    """
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise ValueError("not a URL; write what is special in a password as %2F and the like") from None
    return url


def _checked(url: SecretStr) -> SecretStr:
    check_url(url.get_secret_value())
    return url


SecretUrl = Annotated[SecretStr, AfterValidator(_checked)]
"""An address with a password in it."""


def secrets_in(urls: Iterable[str], values: Iterable[str | None], environment: Mapping[str, str]) -> frozenset[str]:
    """All that must not be shown: credentials in addresses, secret values, and what an environment holds of both."""
    found = {value for value in values if value}
    proxies = (value for name, value in environment.items() if name.upper().endswith("_PROXY"))
    for url in (*urls, *proxies):
        try:
            password = urlsplit(url).password
        except ValueError:
            continue
        for secret in (password, *(value for _, value in _CREDENTIAL.findall(url))):
            found |= {secret, unquote(secret)} if secret else set()
    found |= {value for name, value in environment.items() if name.startswith(JUDGE_PREFIX) or name in OF_LIBRARIES}
    for headers in (value for name, value in environment.items() if _HEADERS.fullmatch(name)):
        for value in (header.partition("=")[2].strip() for header in headers.split(",")):
            found |= {word for word in (value, *unquote(value).split()) if word}
    # A secret that was made of a line ends in a line break, which is written otherwise where a library quotes it.
    return frozenset(found | {each.strip() for each in found})


class Masking:
    """Masks a set of secrets."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # The longest first: one may be the beginning of another.
        known = sorted({each for each in secrets if len(each) >= SHORTEST_CHARS}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, known))) if known else None

    def mask(self, text: str) -> str:
        """The text without them."""
        return self._pattern.sub(MASK, text) if self._pattern else text

    def record(self, record: logging.LogRecord) -> logging.LogRecord:
        """A log record without them, its traceback included; as it was where it holds none."""
        if self._pattern is None:
            return record
        if self._pattern.search(_message(record)):
            record.msg = self.mask(str(record.msg))
            if isinstance(record.args, Mapping):
                record.args = {name: self._argument(value) for name, value in record.args.items()}
            elif record.args:
                record.args = tuple(self._argument(value) for value in record.args)
        if record.exc_info and record.exc_info[0] is not None:
            # Formatters take a text that is there already.
            record.exc_text = self.mask("".join(traceback.format_exception(*record.exc_info)).rstrip())
        return record

    def _argument(self, value: object) -> object:
        # Numbers stay numbers, for formats such as %d.
        text = str(value)
        masked = self.mask(text)
        return value if masked == text else masked


def mask_logs(secrets: Iterable[str]) -> None:
    """Have nothing that this process logs, or dies of, show these secrets."""
    masking = Masking(secrets)
    make = logging.getLogRecordFactory()
    # Asked for again it adds, as several settings may be read in one process.
    logging.setLogRecordFactory(lambda *given, **named: masking.record(make(*given, **named)))

    def died(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.stderr.write(masking.mask("".join(traceback.format_exception(kind, error, trace))))

    def thread_died(hook: threading.ExceptHookArgs) -> None:
        if hook.exc_value is not None and hook.exc_type is not SystemExit:
            died(hook.exc_type, hook.exc_value, hook.exc_traceback)

    sys.excepthook = died
    threading.excepthook = thread_died


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        # A format that does not fit its arguments, which logging tells of itself.
        return f"{record.msg} {record.args}"
