"""No secret reaches what people read."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator

import pytest

from specs.processes.secrets import Masking, check_url, mask_logs, masked_url, secrets_in

SECRET = "s3cret/Word"


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger of a process whose secret is `SECRET`, and what it wrote."""
    make, hooks = logging.getLogRecordFactory(), (sys.excepthook, threading.excepthook)
    mask_logs({SECRET})
    written = io.StringIO()
    logger = logging.Logger("of-a-test")
    logger.addHandler(logging.StreamHandler(written))
    yield logger, written
    logging.setLogRecordFactory(make)
    sys.excepthook, threading.excepthook = hooks


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://:s3cret@host:6379/0", "redis://***@host:6379/0"),
        ("postgresql+psycopg://farm:p%2Fw@db/farm?sslmode=require", "postgresql+psycopg://***@db/farm?sslmode=require"),
        ("https://hub.test/api?token=abc&x=1", "https://hub.test/api?token=***&x=1"),
        ("s3://bucket/evidence?aws_secret_access_key=abc", "s3://bucket/evidence?aws_secret_access_key=***"),
        ("file:///var/evidence", "file:///var/evidence"),
        ("https://hub.test/@user/a@b", "https://hub.test/@user/a@b"),
    ],
)
def test_an_address_is_shown_without_its_credentials(url: str, masked: str) -> None:
    assert masked_url(url) == masked


@pytest.mark.parametrize("url", ["redis://:s3cret/word@host:6379/0", "redis://:s3cret@[host"])
def test_an_address_that_cannot_be_read_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValueError, match="not a URL") as refused:
        check_url(url)
    assert "s3cret" not in "".join(traceback.format_exception(refused.value))


def test_the_secrets_of_a_process_are_found_in_its_settings_and_its_environment() -> None:
    environment = {
        "HTTPS_PROXY": "http://me:proxy%40pass@proxy:3128",
        "REPROFARM_JUDGE_KEY": "sk-judge",
        "HOME": "/home/me",
        "AWS_ACCESS_KEY_ID": "AKIA",
        "AWS_SECRET_ACCESS_KEY": "of-the-bucket",
    }
    found = secrets_in(["redis://:broker-pass@h/0", "sqlite:///x.db"], ["hf_token", None], environment)
    assert found == {"broker-pass", "hf_token", "proxy%40pass", "proxy@pass", "sk-judge", "of-the-bucket"}


def test_a_secret_that_was_made_of_a_line_is_masked_where_its_line_break_is_written_otherwise() -> None:
    found = secrets_in([], ["hf_token\n"], {"REPROFARM_JUDGE_KEY": " sk-judge\n"})
    refused = f"Illegal header value {b'Bearer sk-judge' + bytes([10])!r}, not {'hf_token' + chr(10)!r}"
    assert Masking(found).mask(refused) == r"Illegal header value b'Bearer ***\n', not '***\n'"


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("postgresql+psycopg:///farm?host=/run&password=pass%2Fword", {"pass%2Fword", "pass/word"}),
        ("redis://h/0?password=pass-word&health_check_interval=30", {"pass-word"}),
        ("redis://:first@h/0?password=", {"first"}),
    ],
)
def test_the_password_of_an_address_may_stand_in_its_query(url: str, secrets: set[str]) -> None:
    assert secrets_in([url], [], {}) == secrets


def test_a_secret_is_masked_wherever_a_log_line_has_it(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    logger.error("cannot reach redis://:%s@host, try %d", SECRET, 3)
    logger.error("plain " + SECRET)
    logger.error("%(url)s", {"url": SECRET})
    logger.error("in an error: %s", ValueError(SECRET))
    assert SECRET not in written.getvalue()
    assert "cannot reach redis://:***@host, try 3" in written.getvalue()


def test_a_secret_is_masked_in_a_traceback_and_in_what_caused_it(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    try:
        try:
            raise OSError(f"connecting with {SECRET}")
        except OSError as error:
            raise RuntimeError("no broker") from error
    except RuntimeError:
        logger.exception("a task failed")
    assert SECRET not in written.getvalue()
    assert "connecting with ***" in written.getvalue()
    assert "RuntimeError: no broker" in written.getvalue()


def test_a_line_without_secrets_is_left_as_it_is(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log
    logger.error("%s of %5.1f", ("a", 1), 2.0)
    assert written.getvalue() == "('a', 1) of   2.0\n"


def test_what_is_too_short_to_be_a_secret_masks_nothing() -> None:
    assert Masking({"a", ""}).mask("a banana") == "a banana"


def test_a_process_that_dies_does_not_tell_its_secrets() -> None:
    code = (
        "import threading\nfrom specs.processes.secrets import mask_logs\nmask_logs({'s3cret-word'})\n"
        "def fail(): raise ValueError('-'.join(('s3cret', 'word')))\n"
        "each = threading.Thread(target=fail); each.start(); each.join()\nfail()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.count("ValueError: ***") == 2
    assert "s3cret-word" not in ended.stderr


def test_what_opens_a_collector_of_traces_is_secret_as_it_is_written_and_as_it_is_sent() -> None:
    headers = "authorization=Bearer%20s3cret-token,x-tenant=s3cret-tenant"
    found = secrets_in((), (), {"OTEL_EXPORTER_OTLP_HEADERS": headers, "OTEL_SERVICE_NAME": "farm-of-mine"})
    assert {"s3cret-token", "s3cret-tenant", "Bearer%20s3cret-token"} <= found
    assert "farm-of-mine" not in found
