"""The base of every model that crosses a boundary."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


class Model(BaseModel):
    """An immutable value.

    Unknown fields are ignored: Temporal drops a signal that does not validate, and old
    histories must decode for ever. So validate strictly at the HTTP edge, add only fields
    that have a default, and never rename one.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def _computable(moment: datetime) -> datetime:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(_FIRST, min(aware, _LAST))


Moment = Annotated[datetime, AfterValidator(_computable)]
"""When something happened that a workflow is told of: UTC where no zone is named, and within years that one can compute
with. To compare or add others would raise, and fail the workflow's task again and again."""
