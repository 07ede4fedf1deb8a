# SPDX-License-Identifier: Apache-2.0
"""A package as the archive's index names it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from virtio_crq.errors import VirtioCrqError

# A line of `apt-get --print-uris`, and the file names of packages.
URI = re.compile(r"'(?P<url>[^']+)' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})")
FILE = re.compile(r"(?P<name>[^_]+)_(?P<version>[^_]+)_(?P<architecture>[^_.]+)\.deb")


@dataclass(frozen=True)
class Deb:
    """Where a package is, and what its bytes must be."""

    name: str
    version: str
    architecture: str
    url: str
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        """One file system name for each content: a version that was built again has another hash."""
        return f"{self.name}_{self.architecture}_{self.sha256[:16]}.deb"

    @classmethod
    def from_uri(cls, line: str) -> "Deb":
        """What `apt-get --print-uris` printed. Without a SHA-256 nothing is accepted."""
        found = URI.fullmatch(line.strip())
        parts = found and FILE.fullmatch(unquote(found["file"]))
        if not found or not parts:
            raise VirtioCrqError(f"apt-get named a package without a SHA-256 or in no known way: {line.strip()}")
        return cls(
            parts["name"], parts["version"], parts["architecture"], found["url"], int(found["size"]), found["sha256"]
        )

    @classmethod
    def from_stanza(cls, mirror: str, stanza: Mapping[str, str]) -> "Deb":
        """What the index says of a package, RFC 822 fields of lower-case names."""
        return cls(
            stanza["package"],
            stanza["version"],
            stanza["architecture"],
            f"{mirror.rstrip('/')}/{stanza['filename']}",
            int(stanza["size"]),
            stanza["sha256"],
        )

    def origin(self) -> dict[str, Any]:
        """Its row in the manifest."""
        return {
            "name": self.name,
            "version": self.version,
            "architecture": self.architecture,
            "sha256": self.sha256,
        }
