"""The local disk as globs see it: a link to a folder is that folder."""

from __future__ import annotations

import os
from typing import Any

from fsspec.implementations.local import LocalFileSystem


class FollowedLinks(LocalFileSystem):  # type: ignore[misc]
    """Local files, links to folders entered; not one to a folder that its own path goes through, so
    that loops of links end.
    """

    def ls(self, path: str, detail: bool = False, **options: Any) -> list[Any]:
        entries = super().ls(path, detail=True, **options)
        for entry in entries:
            if entry.get("islink") and os.path.isdir(entry["name"]):
                entry["type"] = "link" if _returns(entry["name"]) else "directory"
        return entries if detail else [entry["name"] for entry in entries]


def _returns(link: str) -> bool:
    """Whether a link leads to a folder on its own way, or to one that holds such a folder."""
    target = os.path.join(os.path.realpath(link), "")
    folder = os.path.dirname(link)
    while True:
        if os.path.join(os.path.realpath(folder), "").startswith(target):
            return True
        above = os.path.dirname(folder)
        if above == folder:
            return False
        folder = above
