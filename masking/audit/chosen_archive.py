"""Which archive the settings name."""

from __future__ import annotations

from pathlib import Path

from masking.audit.archive import Archive
from masking.audit.folder_archive import FolderArchive
from masking.audit.object_archive import ObjectArchive
from masking.errors import MaskingError
from masking.objects.place import place_of


def open_archive(place: str) -> Archive:
    """The archive at a path or a URL. Nothing is asked of it yet.

    Raises:
        MaskingError: the place is written wrongly.
    """
    try:
        found = place_of(place)
    except ValueError as error:
        raise MaskingError(f"the archive {error}") from None
    if isinstance(found, Path):
        return FolderArchive(found)
    return ObjectArchive(found)
