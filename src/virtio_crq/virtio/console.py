# SPDX-License-Identifier: Apache-2.0
"""The console device (virtio 1.4 §5.3): features, configuration space, queues of ports, control messages."""

import struct
from dataclasses import dataclass
from enum import IntEnum

# Feature bits (§5.3.3).
SIZE = 0
MULTIPORT = 1
EMERG_WRITE = 2
FEATURE_NAMES = {SIZE: "SIZE", MULTIPORT: "MULTIPORT", EMERG_WRITE: "EMERG_WRITE"}

# struct virtio_console_config (§5.3.4): le16 cols, le16 rows, le32 max_nr_ports, le32 emerg_wr.
CONFIG = struct.Struct("<HHII")
CONFIG_SIZE = 12
CONFIG_EMERGENCY_OFFSET = 8
CONFIG_EMERGENCY_SIZE = 4

# Queues (§5.3.2): port 0's pair comes first, the control pair second, then a pair for each further port.
RECEIVE = 0
TRANSMIT = 1
CONTROL_RECEIVE = 2
CONTROL_TRANSMIT = 3

# struct virtio_console_control (§5.3.6.2): le32 id, le16 event, le16 value; a name or a size may follow.
CONTROL = struct.Struct("<IHH")
CONTROL_HEADER = 8
RESIZE_SIZE = struct.Struct("<HH")  # le16 cols, le16 rows


class Event(IntEnum):
    """What a control message says (§5.3.6.2)."""

    DEVICE_READY = 0
    PORT_ADD = 1
    PORT_REMOVE = 2
    PORT_READY = 3
    CONSOLE_PORT = 4
    RESIZE = 5
    PORT_OPEN = 6
    PORT_NAME = 7


FROM_DRIVER = frozenset({Event.DEVICE_READY, Event.PORT_READY, Event.PORT_OPEN})


def receive_queue(port: int) -> int:
    """The queue that carries bytes to the driver's `port`."""
    return RECEIVE if port == 0 else 2 + 2 * port


def transmit_queue(port: int) -> int:
    """The queue that carries bytes from the driver's `port`."""
    return receive_queue(port) + 1


def queue_count(ports: int) -> int:
    """Queues of a device with so many ports; one port needs no control queues."""
    return 2 if ports == 1 else 2 + 2 * ports


@dataclass(frozen=True)
class ConsoleConfig:
    """The configuration space; `emerg_wr` is written only."""

    columns: int = 0
    rows: int = 0
    max_nr_ports: int = 1

    def encode(self) -> bytes:
        return CONFIG.pack(self.columns, self.rows, self.max_nr_ports, 0)

    @classmethod
    def decode(cls, data: bytes) -> "ConsoleConfig":
        """From a configuration space that may end early: missing bytes read as 0."""
        columns, rows, ports, _emergency = CONFIG.unpack(data[:CONFIG_SIZE].ljust(CONFIG_SIZE, b"\0"))
        return cls(columns, rows, ports)


@dataclass(frozen=True)
class Control:
    """A control message. `rest` is a name without its end, or a size."""

    port: int
    event: int
    value: int = 0
    rest: bytes = b""

    def encode(self) -> bytes:
        return CONTROL.pack(self.port, self.event, self.value) + self.rest

    @classmethod
    def decode(cls, data: bytes) -> "Control":
        """Raises ValueError when not even the header is there."""
        if len(data) < CONTROL_HEADER:
            raise ValueError(f"{len(data)} bytes are no control message")
        port, event, value = CONTROL.unpack_from(data)
        return cls(port, event, value, data[CONTROL_HEADER:])
