# SPDX-License-Identifier: Apache-2.0
"""A private APT over an archive in a folder: what it finds, what it refuses, and what of the host it leaves alone."""

import shutil
from pathlib import Path

import pytest
from fakearchive import FakeArchive

from virtio_crq.errors import UsageError, VirtioCrqError
from virtio_crq.guests.lab import suite as suites
from virtio_crq.guests.lab.suite import Suite, host_architecture

pytestmark = pytest.mark.skipif(not shutil.which("apt-get"), reason="this host has no APT")


@pytest.fixture
def archive(tmp_path: Path) -> FakeArchive:
    return FakeArchive(tmp_path / "archive")


@pytest.fixture
def suite(tmp_path: Path, archive: FakeArchive, monkeypatch: pytest.MonkeyPatch) -> Suite:
    monkeypatch.setattr(suites, "KEYRING", tmp_path / "no keyring here")
    return Suite(tmp_path / "apt", "sid", archive.url, "amd64")


def test_the_closure_holds_all_that_is_depended_on_and_nothing_else(archive: FakeArchive, suite: Suite) -> None:
    archive.add("fio", depends="libfio (>= 1)", architecture="ppc64el")
    library = archive.add("libfio", architecture="ppc64el")
    archive.add("unrelated", architecture="ppc64el")
    archive.add("libfio", architecture="amd64")
    suite.refresh()
    found = {deb.name: deb for deb in suite.closure(["fio"], "ppc64el")}
    assert set(found) == {"fio", "libfio"}
    assert found["libfio"].architecture == "ppc64el"
    assert found["libfio"].size == library.stat().st_size
    assert len(found["libfio"].sha256) == 64


def test_a_package_that_is_missing_is_named(archive: FakeArchive, suite: Suite) -> None:
    archive.add("fio", depends="libgone")
    suite.refresh()
    with pytest.raises(VirtioCrqError, match="sid does not have fio now"):
        suite.closure(["fio"], "ppc64el")


def test_the_newest_version_is_shown(archive: FakeArchive, suite: Suite) -> None:
    archive.add("linux-image", version="7.2.9-1")
    archive.add("linux-image", version="7.2.13-1")
    suite.refresh()
    assert suite.stanza("linux-image", "ppc64el")["version"] == "7.2.13-1"
    assert suite.stanza("linux-image", "amd64") == {}
    assert suite.names("linux-") == ["linux-image"]


def test_an_archive_that_nobody_signed_is_refused_where_keys_are_known(
    tmp_path: Path, archive: FakeArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = tmp_path / "keys.gpg"
    keyring.write_bytes(b"")
    monkeypatch.setattr(suites, "KEYRING", keyring)
    archive.add("fio")
    with pytest.raises(UsageError, match="sid could not be read"):
        Suite(tmp_path / "apt", "sid", archive.url, "amd64").refresh()


def test_a_mirror_that_is_not_there_is_one_line_that_says_what_to_do(suite: Suite) -> None:
    with pytest.raises(UsageError, match="check the network, or name another mirror by --mirror URL"):
        suite.refresh()


def test_nothing_is_asked_of_the_hosts_own_lists(suite: Suite) -> None:
    with pytest.raises(FileNotFoundError):
        suite.stanza("bash", "amd64")


def test_a_host_without_apt_hears_what_to_provide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        UsageError, match=r"no apt-get.*--qemu PATH.*--cross PREFIX.*--kernel VERSION=DIRECTORY.*--userland DIRECTORY"
    ):
        host_architecture()
