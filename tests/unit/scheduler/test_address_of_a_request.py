from __future__ import annotations

import pytest

from scheduler.api.callers.allowance import address_of


@pytest.mark.parametrize(
    ("client", "forwarded", "proxies", "address"),
    [
        # No proxy is set up, so the header is whoever's.
        ("203.0.113.9", ["198.51.100.1"], 0, "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1"], 1, "198.51.100.1"),
        # What the caller made up stands left of what the proxy saw.
        ("10.0.0.1", ["1.2.3.4, 198.51.100.1"], 1, "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4", "198.51.100.1"], 1, "198.51.100.1"),
        ("10.0.0.1", ["1.2.3.4, 198.51.100.1, 10.0.0.2"], 2, "198.51.100.1"),
        # Fewer than there are proxies: it did not come through them.
        ("203.0.113.9", ["198.51.100.1"], 2, "203.0.113.9"),
        ("203.0.113.9", [], 1, "203.0.113.9"),
        ("203.0.113.9", ["not an address"], 1, "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", [], 0, "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", [], 0, "203.0.113.9"),
        ("unknown", [], 0, "unknown"),
    ],
)
def test_the_address_that_a_request_counts_for(client: str, forwarded: list[str], proxies: int, address: str) -> None:
    assert address_of(client, forwarded, proxies) == address
