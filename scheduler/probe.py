"""`python -m scheduler.probe`: is a control worker stuck that took no message for minutes, or beat, that sent none?

For their liveness probes. It ends with 1 if the broker answers, and with 0 if that is away: then there is nothing to
take and nowhere to send to, and whoever is started again and again for it comes back minutes after the broker.
"""

from __future__ import annotations

import sys

from scheduler.messaging.broker_readiness import trouble_with_broker
from scheduler.settings import read_settings


def main() -> int:
    """Ask the broker of this process's settings."""
    trouble = trouble_with_broker(read_settings().broker_url.get_secret_value())
    sys.stdout.write(f"the broker {trouble or 'answers'}\n")
    return int(trouble is None)


if __name__ == "__main__":
    sys.exit(main())
