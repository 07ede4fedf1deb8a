# SPDX-License-Identifier: Apache-2.0
"""The conversation of IBM's stock vSCSI drivers, replayed on every profile: each code is one that the driver bears."""

from collections.abc import Iterator

import pytest
from stockpair import BUFFERS, INIT, INIT_COMPLETE, READ, UNITS, WRITE, StockClient, StockServer, cells, machine

from virtio_crq.hypervisor.machine import Machine
from virtio_crq.papr.hypercalls import Hypercall
from virtio_crq.papr.profiles import PROFILES
from virtio_crq.papr.returncodes import ReturnCode

H, R = Hypercall, ReturnCode


class Pair:
    def __init__(self, profile: str) -> None:
        self.machine: Machine = machine(profile)
        self.client = StockClient(self.machine, "client")
        self.server = StockServer(self.machine, "server")

    def connect(self) -> None:
        """The order that suits both: the server is enabled and settled, then the client's module comes."""
        assert self.server.enable() == (R.H_CLOSED, "INIT")
        assert self.client.probe() == (R.H_SUCCESS, R.H_SUCCESS)
        self.answer_init()

    def answer_init(self) -> None:
        assert self.server.interrupted()
        assert self.server.drain() == [(INIT, 0)]
        self.server.partner_number()
        assert self.server.send(INIT_COMPLETE) == R.H_SUCCESS
        assert self.client.interrupted()
        assert self.client.drain() == [(INIT_COMPLETE, 0)]

    def die(self, driver: StockClient | StockServer) -> None:
        driver.port.close()
        driver.partition.close()
        while not self.machine.reap(driver.name):
            pass


@pytest.fixture(params=sorted(PROFILES))
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    made = Pair(request.param)
    yield made
    for driver in (made.client, made.server):
        driver.port.close()
        driver.partition.close()
    made.machine.close()


def test_the_drivers_match_the_nodes_and_find_their_windows(pair: Pair) -> None:
    client, server = pair.client.node.properties, pair.server.node.properties
    assert (client["name"], client["device_type"], client["compatible"]) == (b"vscsi\0", b"vscsi\0", b"IBM,v-scsi\0")
    assert (server["name"], server["device_type"]) == (b"v-scsi-host\0", b"v-scsi-host\0")
    assert server["compatible"] == b"IBM,v-scsi-host\0"
    assert cells(client["ibm,my-dma-window"]) == (pair.client.liobn, 0, 0, 0, 64 << 20)
    assert cells(server["ibm,my-dma-window"]) == (
        *(pair.server.liobn, 0, 0, 0, 128 << 20),
        *(pair.server.remote, 0, 0, 0, 64 << 20),
    )
    assert pair.server.remote not in (pair.server.liobn, pair.client.liobn)
    assert cells(client["interrupts"])[0] != 0
    bus = pair.server.partition.bus_properties
    assert (bus["name"], bus["device_type"]) == (b"vdevice\0", b"vdevice\0")


def test_a_window_is_cleared_when_its_table_is_made(pair: Pair) -> None:
    """Debian's kernels do it 512 entries at a time; older ones the whole window at once, which some platforms took."""
    client, profile = pair.client, pair.machine.definition.profile
    whole = client.call(H.H_STUFF_TCE, client.liobn, 0, 0, (64 << 20) // 4096)
    assert whole == {"lopar-minimum": R.H_FUNCTION, "power8": R.H_SUCCESS, "power9": R.H_P4}[profile]
    beyond = client.call(H.H_STUFF_TCE, client.liobn, 0, 0, 1 << 62)
    assert beyond == {"lopar-minimum": R.H_FUNCTION, "power8": R.H_PARAMETER, "power9": R.H_P4}[profile]
    for at in range(0, 64 << 20, 512 * 4096):
        client.unmap(at, 512 * 4096)
    assert client.call(H.H_GET_TCE, client.liobn, BUFFERS) == 0


def test_a_server_asks_for_its_partner_before_it_has_a_queue(pair: Pair) -> None:
    absent = H.H_VIOCTL in PROFILES[pair.machine.definition.profile].absent_calls
    assert pair.server.partner_number() == (None if absent else 1)


def test_the_server_first(pair: Pair) -> None:
    pair.connect()


def test_the_client_first(pair: Pair) -> None:
    """Then its INIT is answered H_Closed, and the server's own comes when that is enabled."""
    assert pair.client.probe() == (R.H_CLOSED, R.H_CLOSED)
    assert pair.server.enable() == (R.H_SUCCESS, "INIT")
    assert pair.client.interrupted()
    assert pair.client.drain() == [(INIT, 0)]
    assert pair.client.send(INIT_COMPLETE) == R.H_SUCCESS
    assert pair.server.interrupted()
    assert pair.server.drain() == [(INIT_COMPLETE, 0)]


def test_a_read_and_a_write(pair: Pair) -> None:
    pair.connect()
    client, server = pair.client, pair.server
    page = BUFFERS + 0x4000
    client.unmap(page, 4096)
    for access, to_client in ((READ | WRITE, True), (READ, False)):
        client.map(page, 4096, access)
        (client if not to_client else server).port.write(page if not to_client else BUFFERS, bytes(range(256)) * 16)
        assert client.request(3, b"command", tag=0) == R.H_SUCCESS
        assert server.interrupted()
        ((_, unit),) = server.drain()
        assert (unit, server.fetch(unit)) == (UNITS + 256 * 3, "copied")
        pieces = server.data(page, 4096, to_client)
        assert pieces == (8 if pair.machine.definition.profile == "lopar-minimum" else 1)
        assert client.port.read(page, 4096) == server.port.read(BUFFERS, 4096)
        assert server.respond(unit, 0x12345678_9ABCDEF0, bytes(36)) == R.H_SUCCESS
        assert client.interrupted()
        assert client.drain()[0][1] == 0x12345678_9ABCDEF0  # the tag is the client's, byte for byte
        client.unmap(page, 4096)
        client.port.write(page, bytes(4096))
        server.port.write(BUFFERS, bytes(4096))


def test_the_limit_of_copies_is_one_that_a_server_without_byte_swap_can_live_with(pair: Pair) -> None:
    """0 would make it loop for ever; 512 is slow, and what the legal minimum of 128 KiB comes to."""
    limit, facts = pair.server.copy_limit(), PROFILES[pair.machine.definition.profile]
    assert limit == {"lopar-minimum": 512, "power8": facts.max_copy, "power9": 128 * 1024}[facts.name]


@pytest.mark.parametrize("end", ["deregisters", "dies"])
def test_a_client_that_ends_is_told_first_and_then_its_successor_comes(pair: Pair, end: str) -> None:
    """The event stands in the ring before the next INIT, or the server takes it for a second one and resets."""
    pair.connect()
    server = pair.server
    if end == "dies":
        pair.die(pair.client)
        assert server.ping()
        pair.client.start()
        assert pair.client.probe() == (R.H_SUCCESS, R.H_SUCCESS)
    else:
        assert pair.client.reset() == (R.H_SUCCESS, R.H_SUCCESS)
    assert server.interrupted()
    assert [high >> 48 for high, _ in server.drain()] == [0xFF01 if end == "dies" else 0xFF02, 0xC001]


def test_while_the_client_is_gone_every_call_says_so_quietly(pair: Pair) -> None:
    """H_Permission for copies and H_Closed for entries: the codes by which the server looks, and finds it gone."""
    pair.connect()
    assert pair.client.free() == 0
    expected = "ping" if PROFILES[pair.machine.definition.profile].closed_pane_permission else "reset"
    assert pair.server.fetch(UNITS) == expected
    assert pair.server.ping()


@pytest.mark.parametrize("profile", ["power8", "power9"])
def test_the_platforms_that_stand_for_real_ones_answer_as_the_server_expects(profile: str) -> None:
    assert PROFILES[profile].closed_pane_permission


def test_an_init_that_came_while_old_requests_end_signals_when_the_server_unmasks_again(pair: Pair) -> None:
    """In that state its handler unmasks and takes nothing; at the end it unmasks once more and waits for a signal."""
    pair.connect()
    server = pair.server
    assert pair.client.reset() == (R.H_SUCCESS, R.H_SUCCESS)
    assert server.interrupted()
    server.mask()
    assert server.take()[0] >> 48 == 0xFF02  # and INIT stays where it is
    for _ in range(3):
        server.unmask()
        assert server.interrupted()
        server.mask()
    server.unmask()
    assert server.interrupted()
    assert server.drain() == [(INIT, 0)]
    assert not server.interrupted()


def test_an_entry_that_came_before_the_reset_client_unmasked_signals(pair: Pair) -> None:
    """It sends INIT before it turns its interrupt on, and does not look afterwards: the answer may be faster."""
    pair.connect()
    client, server = pair.client, pair.server
    assert client.free() == 0
    assert client.register() == R.H_SUCCESS
    assert client.send(INIT) == R.H_SUCCESS
    server.drain()
    assert server.send(INIT_COMPLETE) == R.H_SUCCESS
    client.interrupted()
    client.unmask()
    assert client.interrupted()


def test_a_server_that_is_disabled_and_enabled_again(pair: Pair) -> None:
    pair.connect()
    pair.server.disable()
    assert [high >> 48 for high, _ in pair.client.drain()] == [0xFF02]
    assert pair.client.reset() == (R.H_CLOSED, R.H_CLOSED)  # to the client an error: it waits for the server's INIT
    assert pair.server.enable() == (R.H_SUCCESS, "INIT")
    assert pair.client.interrupted()
    assert pair.client.drain() == [(INIT, 0)]


def test_a_server_that_dies_and_comes_back(pair: Pair) -> None:
    pair.connect()
    pair.die(pair.server)
    assert pair.client.interrupted()
    assert [high >> 48 for high, _ in pair.client.drain()] == [0xFF01]
    assert pair.client.send(INIT) == R.H_CLOSED
    assert pair.client.reset() == (R.H_CLOSED, R.H_CLOSED)
    pair.server.start()
    assert pair.server.enable() == (R.H_SUCCESS, "INIT")
    assert pair.client.interrupted()
    assert pair.client.drain() == [(INIT, 0)]


def test_a_kernel_that_was_replaced_finds_its_queue_taken(pair: Pair) -> None:
    """kexec, or a driver that was not shut down: the client's driver frees and registers again."""
    pair.connect()
    assert pair.client.register() == R.H_RESOURCE
    assert pair.client.free() == 0
    assert pair.client.register() == R.H_SUCCESS
