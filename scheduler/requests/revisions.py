"""Which claims are meant by a revision of their model's repo."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, not_, select

from scheduler.database.tables import Claim, Model


def at_revision(model_id: str, revision: str) -> ColumnElement[bool]:
    """Of a model's claims those at `main`, at a pull request (`refs/pr/3`), or at a commit or the start of one."""
    if revision == "main" or revision.startswith("refs/"):
        return Claim.ref == revision
    # Of a model whose main stands there, the claims on main; else those whose pull request does.
    on_main = (
        select(Model.model_id)
        .where(Model.model_id == model_id, Model.revision.startswith(revision, autoescape=True))
        .exists()
    )
    return and_(on_main, Claim.ref == "main") | and_(not_(on_main), Claim.commit.startswith(revision, autoescape=True))
