"""One round of the reaper, which comes every heartbeat and sets right what got lost."""

from __future__ import annotations

from scheduler.collect import workforce
from scheduler.database.session import Database
from scheduler.dispatch import taking_back
from scheduler.dispatch.taking_back import Withdraw
from scheduler.reaping.absence import grant_time
from scheduler.reaping.endless_attempts import end_endless_attempts
from scheduler.reaping.lost_messages import QueuedIds, send_lost_messages_again
from scheduler.reaping.never_taken import give_up_never_taken
from scheduler.reaping.silent_attempts import end_silent_attempts
from scheduler.reaping.unneeded import cancel_unneeded
from specs.policy.rules import Policy


def reap(database: Database, policy: Policy, queued_ids: QueuedIds, withdraw: Withdraw) -> int:
    """Set right what got lost; returns how many workers, batches and reproductions were touched.

    Each step is a transaction or several of its own, which another reaper may do at the same time. In this order:

    1. Time is granted first of all, where nobody listened for a while: nothing is lost that only was not heard.
    2. Lost workers are found before batches that wait for workers: what waits for a lost one is taken back.
    3. What waits behind others' runs is moved after that: what was taken back is for whoever has nothing to do.
    4. Then only is what is overdue looked for: the broker did not lose what a lost worker took, or what was taken back.
    """
    grant_time(database, policy.run)
    return (
        workforce.find_lost(database)
        + taking_back.take_back(database, policy, withdraw)
        + taking_back.pass_over(database, policy, withdraw)
        + taking_back.rebalance(database, policy, withdraw)
        + end_silent_attempts(database, policy)
        + end_endless_attempts(database, policy)
        + send_lost_messages_again(database, policy, queued_ids)
        + give_up_never_taken(database, policy)
        + cancel_unneeded(database)
    )
