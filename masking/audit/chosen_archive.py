"""Which archive the settings name."""

from __future__ import annotations

from pathlib import Path

from masking.audit.archive import Archive
from masking.audit.folder_archive import FolderArchive
from masking.audit.object_archive import ObjectArchive
from masking.objects.place import named_place


def open_archive(place: str) -> Archive:
    """The archive at a path or a URL. Nothing is asked of it yet.

    Raises:
        MaskingError: the place is written wrongly.
    """
    found = named_place("the archive", place)
    return FolderArchive(found) if isinstance(found, Path) else ObjectArchive(found)
