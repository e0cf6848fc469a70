"""stub"""

from scheduler.database.session import Database


def reverify(database: Database, target: str, why: str, actor: str) -> list[str]:
    """Stub"""
    raise NotImplementedError
