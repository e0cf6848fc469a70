"""What completed runs took stands in columns: to find it in their measurements took seconds, of a few hundred runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_OF_WHOLE_RUNS = sa.text("engine_seconds IS NOT NULL")

_SQLITE = """
    UPDATE reproduction SET
        population = json_extract(measurement, '$.population'),
        answers = (json_array_length(measurement, '$.sample_ids') + json_extract(measurement, '$.ignored'))
            * json_extract(measurement, '$.circumstances.epochs'),
        engine_seconds = CASE WHEN json_extract(measurement, '$.resumed.samples') IS NULL THEN
            max(0.0, 86400.0 * (julianday(json_extract(measurement, '$.ended_at'))
                - julianday(json_extract(measurement, '$.started_at'))))
            * coalesce(json_extract(measurement, '$.engine_share'), 1.0) END
    WHERE state = 'completed' AND json_type(measurement) = 'object'
"""

_READ_ON_POSTGRESQL = """
    CREATE TEMPORARY TABLE taken ON COMMIT DROP AS
    SELECT reproduction_id,
        (measurement ->> 'population')::int AS population,
        (json_array_length(measurement -> 'sample_ids') + (measurement ->> 'ignored')::int)
            * (measurement #>> '{circumstances,epochs}')::int AS answers,
        CASE WHEN measurement #>> '{resumed,samples}' IS NULL THEN
            greatest(0.0, extract(epoch FROM (measurement ->> 'ended_at')::timestamptz
                - (measurement ->> 'started_at')::timestamptz)::float8)
            * coalesce((measurement ->> 'engine_share')::float8, 1.0) END AS engine_seconds
    FROM reproduction
    WHERE state = 'completed' AND json_typeof(measurement) = 'object'
"""

_POSTGRESQL = """
    UPDATE reproduction AS run
    SET population = taken.population, answers = taken.answers, engine_seconds = taken.engine_seconds
    FROM taken WHERE taken.reproduction_id = run.reproduction_id
"""


def upgrade() -> None:
    """Apply it."""
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    if not on_sqlite:
        # It takes long, and nobody may use a table from when it is altered until the end.
        op.execute(_READ_ON_POSTGRESQL)
    op.add_column("reproduction", sa.Column("population", sa.Integer(), nullable=True))
    op.add_column("reproduction", sa.Column("answers", sa.Integer(), nullable=True))
    op.add_column("reproduction", sa.Column("engine_seconds", sa.Double(), nullable=True))
    op.execute(_SQLITE if on_sqlite else _POSTGRESQL)
    op.create_index(
        "reproduction_by_cost",
        "reproduction",
        ["dataset_id", "task_id", "pool", "since"],
        sqlite_where=_OF_WHOLE_RUNS,
        postgresql_where=_OF_WHOLE_RUNS,
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_index("reproduction_by_cost", "reproduction")
    for column in ("engine_seconds", "answers", "population"):
        op.drop_column("reproduction", column)
