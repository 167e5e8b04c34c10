"""The base of every model that crosses a boundary."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """An immutable value.

    Unknown fields are ignored: Temporal drops a signal that does not validate, and old
    histories must decode for ever. So validate strictly at the HTTP edge, add only fields
    that have a default, and never rename one.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)
