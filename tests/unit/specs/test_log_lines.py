"""Lines of JSON: one a record, masked, with what they are about and nothing that a library adds."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator

import pytest

from specs.processes.log_lines import about, hush, write_json_lines
from specs.processes.secrets import Masking

RUN = "0123456789abcdef" * 2
SECRET = "s3cret-word"


class Logged:
    """A logger and what it wrote."""

    def __init__(self) -> None:
        self.written = io.StringIO()
        self.logger = logging.Logger("made.for.this")
        self.logger.addHandler(logging.StreamHandler(self.written))
        write_json_lines(self.logger)

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.written.getvalue().splitlines()]


@pytest.fixture
def logged() -> Iterator[Logged]:
    make = logging.getLogRecordFactory()
    masking = Masking({SECRET})
    logging.setLogRecordFactory(lambda *given, **named: masking.record(make(*given, **named)))
    try:
        yield Logged()
    finally:
        logging.setLogRecordFactory(make)


def test_a_line_is_an_object_with_its_words_in_place(logged: Logged) -> None:
    logged.logger.warning("two\nlines and %d %s", 3, '"quotes"')
    (line,) = logged.lines()
    assert line["message"] == 'two\nlines and 3 "quotes"'
    assert (line["level"], line["logger"]) == ("WARNING", "made.for.this")
    assert str(line["time"]).endswith("+00:00")


def test_lines_within_a_block_say_what_it_is_about(logged: Logged) -> None:
    with about(batch_id="b", worker="w1", attempt=None):
        with about(reproduction_id=RUN, attempt=2):
            logged.logger.info("inside")
        logged.logger.info("outside")
    logged.logger.info("after")
    inside, outside, after = logged.lines()
    assert {name: inside[name] for name in ("batch_id", "worker", "reproduction_id", "attempt", "trace_id")} == {
        "batch_id": "b",
        "worker": "w1",
        "reproduction_id": RUN,
        "attempt": 2,
        "trace_id": RUN,
    }
    assert "reproduction_id" not in outside
    assert outside["worker"] == "w1"
    assert "worker" not in after


def test_what_one_thread_is_about_is_not_what_another_is(logged: Logged) -> None:
    with about(claim_id=RUN):
        thread = threading.Thread(target=logged.logger.info, args=("elsewhere",))
        thread.start()
        thread.join()
    (line,) = logged.lines()
    assert "claim_id" not in line


def test_an_id_that_is_no_trace_makes_no_trace_id(logged: Logged) -> None:
    for made_up in ("r1", "0" * 32, RUN.upper()):
        with about(reproduction_id=made_up):
            logged.logger.info("said")
    assert not any("trace_id" in line for line in logged.lines())


def test_secrets_are_masked_in_words_and_exceptions(logged: Logged) -> None:
    try:
        raise ValueError(f"redis://:{SECRET}@host")
    except ValueError:
        logged.logger.exception("could not reach %s", f"redis://:{SECRET}@host")
    text = logged.written.getvalue()
    assert SECRET not in text
    (line,) = logged.lines()
    assert str(line["exception"]).startswith("Traceback")
    assert "redis://:***@host" in str(line["exception"])


def test_fields_that_a_library_adds_are_left_out(logged: Logged) -> None:
    logged.logger.info("task received", extra={"data": {"args": SECRET}})
    assert SECRET not in logged.written.getvalue()


def test_a_field_that_nobody_knows_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no such field"), about(claim="c"):
        pass


def test_what_a_worker_says_of_itself_is_cleaned_and_cut(logged: Logged) -> None:
    with about(worker="w\x1b[31m" + "x" * 1000):
        logged.logger.info("said")
    (line,) = logged.lines()
    assert "\x1b" not in str(line["worker"])
    assert len(str(line["worker"])) <= 200


def test_a_library_that_logs_each_thing_it_does_is_hushed_unless_all_is_to_be_said() -> None:
    library, root = logging.getLogger("a-library"), logging.getLogger()
    level = root.level
    try:
        root.setLevel(logging.DEBUG)
        hush("a-library")
        assert library.isEnabledFor(logging.INFO)
        root.setLevel(logging.INFO)
        hush("a-library")
        assert not library.isEnabledFor(logging.INFO)
        assert library.isEnabledFor(logging.WARNING)
    finally:
        root.setLevel(level)
