# SPDX-License-Identifier: Apache-2.0
"""One suite of Debian's archive, seen through a private APT: the host's own lists and state stay as they are."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from virtio_crq.errors import UsageError, VirtioCrqError
from virtio_crq.guests.lab.child import run_child
from virtio_crq.guests.lab.deb import Deb

MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
GUEST = "ppc64el"

# A private APT with nothing installed. Dates are not checked: what runs in a lab's guest may be a week old.
CONFIGURATION = """\
Dir::State "{folder}";
Dir::State::Lists "{folder}/lists";
Dir::State::status "/dev/null";
Dir::Cache "{folder}/{native}";
Dir::Etc "{folder}/etc";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "-";
APT::Architecture "{native}";
APT::Architectures {{ "{native}"; "{other}"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Check-Valid-Until "false";
Acquire::ForceHash "SHA256";
Acquire::GzipIndexes "true";
Acquire::Languages "none";
Acquire::Retries "2";
"""


def host_architecture() -> str:
    """The architecture whose programs run here, in Debian's words; refused where there is no APT."""
    for tool in ("apt-get", "apt-cache", "dpkg-deb", "dpkg"):
        if not shutil.which(tool):
            raise UsageError(
                f"this host has no {tool}, so the lab cannot be fetched; provide its parts: --qemu PATH, "
                "--cross PREFIX, --kernel VERSION=DIRECTORY for 6.1, 6.12 and 7.2, --userland DIRECTORY, as "
                "docs/how-to/fill-the-lab.md says"
            )
    return subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()


def host_proxies() -> dict[str, str]:
    """Proxies that the host's own APT uses: a private one must not lose them."""
    found = {}
    for scheme in ("http", "https"):
        asked = subprocess.run(
            ["apt-config", "shell", "PROXY", f"Acquire::{scheme}::Proxy"], capture_output=True, text=True, check=False
        )
        value = re.search(r"PROXY='([^']+)'", asked.stdout)
        if value and value[1] != "DIRECT":
            found[scheme] = value[1]
    return found


class Suite:
    """`folder` is this suite's own state; `native` the architecture whose programs run on this host."""

    def __init__(self, folder: Path, name: str, mirror: str, native: str) -> None:
        self.folder = folder
        self.name = name
        self.mirror = mirror
        self.native = native
        self.signed = KEYRING.exists()

    def refresh(self) -> None:
        """Fetch the index. Its signature is checked where Debian's keys are on this host."""
        for part in ("lists/partial", "etc/apt.conf.d", "etc/preferences.d", "etc/trusted.gpg.d"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        trust = f"signed-by={KEYRING}" if self.signed else "trusted=yes"
        (self.folder / "sources.list").write_text(f"deb [{trust}] {self.mirror} {self.name} main\n")
        proxies = "".join(f'Acquire::{scheme}::Proxy "{url}";\n' for scheme, url in host_proxies().items())
        for native, other in ((self.native, GUEST), (GUEST, self.native)):
            (self.folder / native / "archives/partial").mkdir(parents=True, exist_ok=True)
            text = CONFIGURATION.format(folder=self.folder, native=native, other=other)
            self._configuration(native).write_text(text + proxies)
        done = self._run(self.native, "apt-get", "-q", "update")
        problems = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W: Failed", "W: GPG"))]
        if done.returncode or problems:
            said = problems[0] if problems else f"apt-get update ended with status {done.returncode}"
            raise UsageError(
                f"Debian's {self.name} could not be read from {self.mirror} ({said}): check the network, "
                "or name another mirror by --mirror URL, and try again; it continues where it was"
            )

    def closure(self, packages: Sequence[str], architecture: str) -> list[Deb]:
        """These packages and all they depend on, on a machine that has nothing."""
        done = self._run(architecture, "apt-get", "install", "--print-uris", "-q", "-y", *packages)
        if done.returncode:
            said = next((line for line in done.stderr.splitlines() if line.startswith("E:")), "no reason given")
            raise VirtioCrqError(f"Debian's {self.name} does not have {' '.join(packages)} now ({said}): try later")
        return [Deb.from_uri(line) for line in done.stdout.splitlines() if line.startswith("'")]

    def stanza(self, name: str, architecture: str) -> dict[str, str]:
        """The newest entry of the index for a package, by field in lower case; empty when there is none."""
        done = self._run(self.native, "apt-cache", "show", "--no-all-versions", f"{name}:{architecture}")
        return parse_stanza(done.stdout)

    def names(self, prefix: str) -> list[str]:
        return self._run(self.native, "apt-cache", "pkgnames", prefix).stdout.split()

    def _configuration(self, native: str) -> Path:
        return self.folder / f"apt-{native}.conf"

    def _run(self, native: str, *words: str) -> subprocess.CompletedProcess[str]:
        configuration = self._configuration(native)
        configuration.stat()  # without it APT would speak of the host's packages
        environment = {**os.environ, "APT_CONFIG": str(configuration), "LC_ALL": "C"}
        return run_child(words, environment)


def parse_stanza(text: str) -> dict[str, str]:
    """The first stanza of RFC 822 fields in `text`; continuation lines are left out."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        if not line:
            break
        if line[0] not in " \t":
            key, _, value = line.partition(":")
            fields[key.lower()] = value.strip()
    return fields
