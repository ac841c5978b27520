"""Run by Alembic for each command. The connection comes from the caller, who also holds the transaction."""

from alembic import context

from query_api.control import dataset_models, ml_tables  # noqa: F401 (their tables join those of `models`)
from query_api.control.models import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
