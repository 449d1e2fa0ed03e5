"""Puts search_spaces/ and latency_tables/ into sdist and wheel: what git tracks of them, no more.

A table measured on one's own machine lies in the same folders and stays out. An editable install
needs nothing: nas/places.py finds the folders beside the package there.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = ("search_spaces", "latency_tables")
MADE = ("*.jsonl", "*.fit.json", "*.condensed.json", "*.corrected.json", "*.before-*.json")
"""What profiles and predictions leave in a folder without git; nothing that ships is called so."""


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """What hatchling calls before it builds."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the files: at the top of an sdist, in nas/ of a wheel."""
        if version == "editable":
            return
        root = Path(self.root)
        inside = "nas/" if self.target_name == "wheel" else ""
        for name in shipped(root):
            build_data["force_include"][str(root / name)] = f"{inside}{name}"


def shipped(root: Path) -> list[str]:
    """Paths below `root` of what ships: those that git tracks, or those that nobody made since.

    RuntimeError where there are none: a wheel without spaces and boards is of no use.
    """
    found = [name for name in tracked(root) if (root / name).is_file()] or unpacked(root)
    if not found:
        raise RuntimeError(f"{root}: {' and '.join(FOLDERS)} hold no files to ship")
    return sorted(found)


def tracked(root: Path) -> list[str]:
    """The files that git tracks; none without git, or in a folder that is no checkout."""
    if not (root / ".git").exists():
        return []
    # A checkout that belongs to another user (a container's) is read all the same.
    command = ["git", "-c", f"safe.directory={root}", "ls-files", "-z", "--", *FOLDERS]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return [name for name in done.stdout.decode("utf-8", "surrogateescape").split("\0") if name]


def unpacked(root: Path) -> list[str]:
    """The files of an unpacked sdist or archive, without tables that were made there."""
    files = [path for folder in FOLDERS for path in (root / folder).rglob("*") if path.is_file()]
    return [
        path.relative_to(root).as_posix()
        for path in files
        if path.suffix in (".json", ".yaml") and not any(path.match(made) for made in MADE)
    ]
