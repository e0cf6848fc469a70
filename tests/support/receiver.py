"""A live receiver of webhooks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from deploy.serving import QuietHandler, answered_by


@dataclass
class Receiver:
    """Answers with `statuses` first, then with 200."""

    url: str
    statuses: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    """Headers and body of each request, refused ones included."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Take messages until the block ends."""
    receiver = Receiver("")

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, self.body()))
            status = receiver.statuses.pop(0) if receiver.statuses else 200
            elsewhere = {"location": receiver.url + "/elsewhere"} if status in (301, 302, 307) else {}
            self.answer(status, b"no, thanks" if status >= 300 else b"", "text/plain", elsewhere)

    with answered_by(Handler) as url:
        receiver.url = url + "/hook"
        yield receiver
