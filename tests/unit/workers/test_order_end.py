"""What an error says of the attempt that it ended."""

from __future__ import annotations

import errno
import logging

import pytest

from specs.errors import HubAway
from specs.messages import AttemptOutcome, AttemptRef, ModelRef, Report, TaskRef
from workers.batches import order_end
from workers.batches.order_end import failure
from workers.errors import SpecError


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (SpecError("no split \ud800"), AttemptOutcome.SPEC_FAILED),
        (HubAway("the Hub says \udcff"), AttemptOutcome.HUB_AWAY),
        (OSError(errno.ENOSPC, "no space left on \udcff"), AttemptOutcome.DISK_FULL),
        (RuntimeError("\udcff"), AttemptOutcome.WORKER_FAILED),
    ],
)
def test_words_with_half_a_character_can_be_reported(
    error: Exception, outcome: AttemptOutcome, caplog: pytest.LogCaptureFixture
) -> None:
    # What is logged is kept with the test's result, which half a character keeps from reaching pytest's main process.
    caplog.set_level(logging.CRITICAL, order_end.__name__)
    ended = failure(error)
    report = Report(
        ref=AttemptRef(reproduction_id="r1", attempt=1),
        worker="w1",
        model=ModelRef(model_id="tiny/model", revision="1" * 40),
        task=TaskRef(dataset_id="acme/bench", revision="2" * 40, task_id=None, spec_sha256="3" * 64),
        outcome=ended.outcome,
        detail=ended.detail,
        measurement=None,
        evidence=None,
    )
    assert report.outcome is outcome
    assert Report.decode(report.encode()) == report
