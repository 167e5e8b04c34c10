"""docs/settings.md tells every setting, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic_core import PydanticUndefined

from masking.settings import Settings

PAGE = (Path(__file__).parent.parent.parent / "docs" / "settings.md").read_text()
ROWS = dict(re.findall(r"^\| `([A-Z_]+)` \| (.+?) \|", PAGE, re.MULTILINE))
NOT_OURS = {
    "DATABASE_URL",
    "TEMPORAL_ADDRESS",
    "TEMPORAL_NAMESPACE",
    "TEMPORAL_API_KEY",
    "TEMPORAL_PROFILE",
    "TEMPORAL_CONFIG_FILE",
}


def variables() -> dict[str, object]:
    return {
        f"MASKING_{name.upper()}": field.default
        for name, field in Settings.model_fields.items()
        if name != "database_url"
    }


def test_the_table_has_every_setting_and_no_other() -> None:
    assert set(ROWS) == set(variables()) | NOT_OURS


def test_the_table_tells_the_defaults() -> None:
    for name, default in variables().items():
        assert default is not PydanticUndefined
        told = ROWS[name]
        if default is None or isinstance(default, tuple):
            assert not told.startswith("`") or name == "MASKING_PUBLIC_URL"
        else:
            assert told == f"`{default}`", name
