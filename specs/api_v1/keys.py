"""What the API says, version 1, of signing keys. The rules of `specs.api_v1.views` hold here too."""

from __future__ import annotations

from datetime import datetime

from specs.api_v1.views import View


class KeyRevocation(View):
    """A signing key that is not to be believed any more: with it all badges that name it, whoever made them."""

    key_id: str
    revoked_at: datetime
    reason: str
