# SPDX-License-Identifier: Apache-2.0
"""`data=redirect`: whole pages go below the seam, everything else goes by copies, and nobody can tell by the answer."""

import os
import tempfile
from collections.abc import Iterator
from errno import EAGAIN, EFAULT, EOPNOTSUPP

import pytest
from disk import FLUSH, IN, OUT, Disk
from redirecting import CONTENT, PAGE, PAGES, SECTORS, Scene
from rig import Rig

from virtio_crq.dataplane.filestore import FileStore
from virtio_crq.dataplane.redirected import RedirectedBlockService


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.close()


@pytest.mark.clause("CRQ-D-170", "CRQ-D-171")
def test_a_read_of_whole_pages_takes_no_copy_of_data(scene: Scene) -> None:
    one = scene.request(IN, 8, [(PAGES, PAGE)])
    two = scene.request(IN, 3, [(PAGES + 2 * PAGE, PAGE), (PAGES + 8 * PAGE, 2 * PAGE)])
    scene.go()
    assert scene.status(one) == scene.status(two) == 0
    assert scene.guest(PAGES, PAGE) == CONTENT[8 * 512 :][:PAGE]
    assert scene.guest(PAGES + 2 * PAGE, PAGE) == CONTENT[3 * 512 :][:PAGE]
    assert scene.guest(PAGES + 8 * PAGE, 2 * PAGE) == CONTENT[3 * 512 + PAGE :][: 2 * PAGE]
    assert scene.data_copies() == []
    assert scene.written == [PAGE + 1, 3 * PAGE + 1]
    assert (scene.service.redirected, scene.service.copied) == (2, 0)
    assert scene.service.bytes_in == 4 * PAGE


@pytest.mark.clause("CRQ-D-170")
def test_a_write_of_whole_pages_takes_no_copy_of_data(scene: Scene) -> None:
    data = os.urandom(2 * PAGE)
    one = scene.request(OUT, 16, [(PAGES, PAGE), (PAGES + 4 * PAGE, PAGE)], data)
    scene.go()
    assert scene.status(one) == 0
    assert os.pread(scene.file.fileno(), 2 * PAGE, 16 * 512) == data
    assert scene.data_copies() == []
    assert scene.service.bytes_out == 2 * PAGE


@pytest.mark.clause("CRQ-D-170")
@pytest.mark.parametrize(
    "parts",
    [
        [(PAGES, 512)],
        [(PAGES + 512, PAGE)],
        [(PAGES, PAGE), (PAGES + PAGE, 512)],
        [(PAGES, PAGE), (PAGES + 2 * PAGE + 512, PAGE)],
    ],
)
@pytest.mark.parametrize("kind", [IN, OUT])
def test_what_is_not_whole_pages_goes_by_copies(scene: Scene, kind: int, parts: list[tuple[int, int]]) -> None:
    length = sum(size for _, size in parts)
    data = os.urandom(length)
    one = scene.request(kind, 8, parts, data if kind == OUT else b"")
    scene.go()
    assert scene.status(one) == 0
    expected = CONTENT[8 * 512 :][:length] if kind == IN else data
    assert b"".join(scene.guest(*part) for part in parts) == expected
    assert os.pread(scene.file.fileno(), length, 8 * 512) == expected
    assert scene.platform.asked == []
    assert (scene.service.redirected, scene.service.copied) == (0, 1)


@pytest.mark.clause("CRQ-D-172", "CRQ-D-173")
@pytest.mark.parametrize("answer", [-1, -EAGAIN, -EFAULT, 0, 512])
@pytest.mark.parametrize("kind", [IN, OUT])
def test_what_did_not_move_as_a_whole_is_done_by_copies(scene: Scene, kind: int, answer: int) -> None:
    data = os.urandom(2 * PAGE)
    scene.platform.answers = [None, answer]
    one = scene.request(kind, 8, [(PAGES, PAGE), (PAGES + 4 * PAGE, PAGE)], data if kind == OUT else b"")
    two = scene.request(IN, 64, [(PAGES + 8 * PAGE, PAGE)])
    scene.go()
    expected = CONTENT[8 * 512 :][: 2 * PAGE] if kind == IN else data
    assert scene.status(one) == scene.status(two) == 0
    assert scene.guest(PAGES, PAGE) + scene.guest(PAGES + 4 * PAGE, PAGE) == expected
    assert os.pread(scene.file.fileno(), 2 * PAGE, 8 * 512) == expected
    assert (scene.service.redirected, scene.service.copied) == (1, 1)
    assert scene.service.errors == 0


@pytest.mark.clause("CRQ-D-172")
def test_a_disk_that_ends_before_its_file_says_is_an_error_however_its_data_moves(scene: Scene) -> None:
    os.ftruncate(scene.file.fileno(), 8 * PAGE)
    one = scene.request(IN, 7 * 8, [(PAGES, 2 * PAGE)])
    scene.go()
    assert scene.status(one) == 1


@pytest.mark.clause("CRQ-D-173")
def test_a_file_system_that_always_waits_is_asked_once(scene: Scene) -> None:
    for kind in (IN, OUT):
        scene.platform.answers = [-EOPNOTSUPP]
        for round in range(3):
            scene.request(kind, 8 * round, [(PAGES + round * PAGE, PAGE)], b"x" * PAGE)
            scene.go()
    assert [write for _, _, _, write in scene.platform.asked] == [False, True]


@pytest.mark.clause("CRQ-D-173")
def test_a_write_that_has_to_be_stable_waits_in_the_store() -> None:
    scene = Scene(writethrough=True)
    one = scene.request(OUT, 8, [(PAGES, PAGE)], b"s" * PAGE)
    scene.go()
    assert scene.status(one) == 0
    assert scene.platform.asked == []
    assert os.pread(scene.file.fileno(), PAGE, 8 * 512) == b"s" * PAGE
    scene.close()


def test_requests_without_data_and_wrong_ones_are_served_beside(scene: Scene) -> None:
    flush = scene.request(FLUSH, 0, [])
    beyond = scene.request(IN, SECTORS, [(PAGES, PAGE)])
    unknown = scene.request(77, 0, [])
    good = scene.request(IN, 0, [(PAGES + PAGE, PAGE)])
    scene.go()
    assert [scene.status(at) for at in (flush, beyond, unknown, good)] == [0, 1, 2, 0]
    assert scene.guest(PAGES, PAGE) == bytes(PAGE)
    assert scene.guest(PAGES + PAGE, PAGE) == CONTENT[:PAGE]


def test_more_segments_than_fit_one_vector_go_by_copies(scene: Scene) -> None:
    """Eight requests of seventy pages: seven fit."""
    deep = Scene(size=1024)
    deep.service.bulk = 1 << 30  # one mini-batch, however long
    ats = [deep.request(IN, 0, [(PAGES + page * PAGE, PAGE) for page in range(70)]) for _ in range(8)]
    deep.go()
    assert [deep.status(at) for at in ats] == [0] * 8
    assert deep.guest(PAGES, 70 * PAGE) == CONTENT[: 70 * PAGE]
    assert deep.service.redirected == 7
    assert deep.service.copied == 1
    deep.close()


def test_a_file_is_lent_once_for_a_connection_and_reclaimed_when_the_store_is_closed(scene: Scene) -> None:
    assert scene.platform.files != []
    scene.rig.link.close_queue(0, 0)
    scene.disk.open()
    assert len(scene.platform.files) == 1
    scene.rig.link.close()
    assert scene.platform.reclaimed == []
    scene.store.close()
    assert scene.platform.reclaimed == [0]
    scene.store = FileStore(scene.file.fileno(), SECTORS * 512, "threads")


def test_on_a_platform_that_redirects_nothing_all_goes_by_copies() -> None:
    rig = Rig()
    with tempfile.TemporaryFile() as file:
        file.write(CONTENT)
        file.flush()
        store = FileStore(file.fileno(), SECTORS * 512, "threads")
        disk = Disk(rig, store=store, sectors=SECTORS, service=RedirectedBlockService)
        disk.submit(IN, 5, length=512, tag="read")
        disk.announce()
        rig.run()
        while store.pending:
            rig.run()
        assert disk.collect() == [("read", 0, CONTENT[5 * 512 :][:512])]
        rig.link.close()
        store.close()
