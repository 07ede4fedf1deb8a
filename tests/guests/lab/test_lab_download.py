# SPDX-License-Identifier: Apache-2.0
"""Packages from a server that cuts connections, forgets ranges, sends the wrong bytes, or is not there."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fakearchive import Told, deb_of

from virtio_crq.errors import UsageError
from virtio_crq.guests.lab.deb import Deb
from virtio_crq.guests.lab.download import Downloads, Gone

CONTENT = bytes(range(256)) * 4096


class Mirror(ThreadingHTTPServer):
    """Serves `content` under every path. `cuts` are the bytes after which each answer in turn ends early."""

    daemon_threads = False  # all answers have ended when the server is closed

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.content = CONTENT
        self.knows_ranges = True
        self.cuts: list[int] = []
        self.status = 0
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/a_1_all.deb"


class _Answer(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        self.server.ranges.append(wanted)
        if self.server.status:
            self.send_error(self.server.status)
            return
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.knows_ranges else 0
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(self.server.content) - begin))
        self.end_headers()
        end = begin + self.server.cuts.pop(0) if self.server.cuts else len(self.server.content)
        with suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(self.server.content[begin:end])

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with Mirror() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def downloads(tmp_path: Path) -> Downloads:
    return Downloads(tmp_path / "debs", Told())


@pytest.fixture
def deb(tmp_path: Path, mirror: Mirror) -> Deb:
    original = tmp_path / "a_1_all.deb"
    original.write_bytes(CONTENT)
    return deb_of(original, mirror.url)


def test_a_package_arrives_whole_and_is_not_fetched_twice(downloads: Downloads, deb: Deb, mirror: Mirror) -> None:
    downloads.fetch([deb])
    downloads.fetch([deb])
    assert downloads.path(deb).read_bytes() == CONTENT
    assert mirror.ranges == [None]


def test_what_an_interrupted_run_had_fetched_is_continued(downloads: Downloads, deb: Deb, mirror: Mirror) -> None:
    downloads.folder.mkdir()
    downloads.path(deb).with_suffix(".part").write_bytes(CONTENT[:1000])
    downloads.fetch([deb])
    assert mirror.ranges == ["bytes=1000-"]
    assert downloads.path(deb).read_bytes() == CONTENT
    assert list(downloads.folder.iterdir()) == [downloads.path(deb)]


def test_a_connection_that_ends_early_is_continued(downloads: Downloads, deb: Deb, mirror: Mirror) -> None:
    mirror.cuts = [300_000, 300_000]
    downloads.fetch([deb])
    assert mirror.ranges == [None, "bytes=300000-", "bytes=600000-"]
    assert downloads.path(deb).read_bytes() == CONTENT


def test_a_server_without_ranges_sends_all_of_it_again(tmp_path: Path, deb: Deb, mirror: Mirror) -> None:
    told = Told()
    downloads = Downloads(tmp_path / "debs", told)
    mirror.knows_ranges = False
    mirror.cuts = [300_000]
    downloads.fetch([deb])
    assert downloads.path(deb).read_bytes() == CONTENT
    assert told.got == told.expected == len(CONTENT), "what came twice is counted once"


def test_half_a_file_is_never_taken_for_a_whole(downloads: Downloads, deb: Deb, mirror: Mirror) -> None:
    mirror.cuts = [1000, 1000, 1000]
    with pytest.raises(UsageError, match=r"ended after 3000 of 1048576 bytes.*try again; it continues"):
        downloads.fetch([deb])
    assert not downloads.path(deb).exists()
    assert downloads.path(deb).with_suffix(".part").read_bytes() == CONTENT[:3000]


@pytest.mark.parametrize("wrong", [CONTENT[::-1], CONTENT + b"more", CONTENT[:-1] + b"?"], ids=["all", "more", "last"])
def test_wrong_bytes_are_refused_and_not_kept(wrong: bytes, downloads: Downloads, deb: Deb, mirror: Mirror) -> None:
    mirror.content = wrong
    with pytest.raises(UsageError, match="does not have the bytes that Debian's index promises"):
        downloads.fetch([deb])
    assert list(downloads.folder.iterdir()) == []


def test_a_spoilt_part_is_thrown_away_and_fetched_anew(downloads: Downloads, deb: Deb, mirror: Mirror) -> None:
    downloads.folder.mkdir()
    downloads.path(deb).with_suffix(".part").write_bytes(b"not this" * 100)
    downloads.fetch([deb])
    assert downloads.path(deb).read_bytes() == CONTENT


def test_a_package_that_left_the_archive_is_told_apart(downloads: Downloads, deb: Deb, mirror: Mirror) -> None:
    mirror.status = 404
    with pytest.raises(Gone):
        downloads.fetch([deb])


def test_the_failure_of_one_is_told_when_the_others_were_stopped(
    downloads: Downloads, deb: Deb, mirror: Mirror, tmp_path: Path
) -> None:
    gone = tmp_path / "b_1_all.deb"
    gone.write_bytes(b"b")
    others = [Deb(f"a{n}", "1", "all", deb.url, deb.size, deb.sha256) for n in range(8)]
    with pytest.raises(UsageError, match="could not be fetched"):
        downloads.fetch([*others, deb_of(gone, f"file:{tmp_path}/nothing.deb")])


def test_no_network_is_one_line_that_says_what_to_do(downloads: Downloads, deb: Deb) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{listener.getsockname()[1]}/a_1_all.deb"
    with pytest.raises(UsageError, match=r"refused.*check the network and try again"):
        downloads.fetch([Deb("a", "1", "all", nobody, deb.size, deb.sha256)])


def test_a_full_disk_is_one_line_that_says_what_to_do(downloads: Downloads, deb: Deb) -> None:
    downloads.folder.mkdir()
    downloads.path(deb).with_suffix(".part").symlink_to("/dev/full")
    with pytest.raises(UsageError, match=r"no room left in .*set VIRTIO_CRQ_LAB to a roomier place"):
        downloads.fetch([deb])
