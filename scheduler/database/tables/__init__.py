"""What the farm knows, as tables. They never leave the control plane.

benchmark ─ spec                what the Hub says canonically
model ─ result_file ─ claim     what models say of themselves
claim ─▶ reproduction ─ attempt what the farm runs, and its tries
claim ─ verdict ─ badge ─ publication
reproduction ─ noise            how honest re-runs differ
worker                          who runs, as it says of itself
event, outbox, marker           the record, the messages to send, and what must happen only once at a time
webhook ─ webhook_delivery      who else is told, and what became of it
thread, heard_comment           where people ask on the Hub, and what was heard there
api_token, sign_in, session     who calls the API
stale_walk                      how far looks for stale verdicts have come
engine_load, hub_limit, refused what is only kept to be shown as a figure
"""

from scheduler.database.tables.access import ApiToken, SignedIn, SignIn
from scheduler.database.tables.base import Table, UtcDateTime, new_id, now
from scheduler.database.tables.claims import Claim
from scheduler.database.tables.hub import BEING_LOOKED_AT, UNREADABLE, Benchmark, Model, ResultFile, SpecFile
from scheduler.database.tables.marker import Marker
from scheduler.database.tables.metrics import EngineLoad, HubLimit, Refused
from scheduler.database.tables.noise import NoisePair
from scheduler.database.tables.outbox import OutboxRow
from scheduler.database.tables.record import Event
from scheduler.database.tables.reproductions import Attempt, Reproduction
from scheduler.database.tables.requests import HeardComment, Thread
from scheduler.database.tables.stale_walks import StaleWalk
from scheduler.database.tables.verdicts import Badge, Publication, RevokedKey, VerdictRow
from scheduler.database.tables.webhooks import Webhook, WebhookDelivery
from scheduler.database.tables.workers import Worker

__all__ = [
    "BEING_LOOKED_AT",
    "UNREADABLE",
    "ApiToken",
    "Attempt",
    "Badge",
    "Benchmark",
    "Claim",
    "EngineLoad",
    "Event",
    "HeardComment",
    "HubLimit",
    "Marker",
    "Model",
    "NoisePair",
    "OutboxRow",
    "Publication",
    "Refused",
    "Reproduction",
    "ResultFile",
    "RevokedKey",
    "SignIn",
    "SignedIn",
    "SpecFile",
    "StaleWalk",
    "Table",
    "Thread",
    "UtcDateTime",
    "VerdictRow",
    "Webhook",
    "WebhookDelivery",
    "Worker",
    "new_id",
    "now",
]
