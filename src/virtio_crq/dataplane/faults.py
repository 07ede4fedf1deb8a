# SPDX-License-Identifier: Apache-2.0
"""The rules a driver can break on a ring, by the names under which they are counted."""

from virtio_crq.errors import DriverFault

RULES = {
    "address-wrap": "a buffer of {1} bytes at {0:#x} runs over the end of the address space",
    "announced-ahead": "position {0} was announced, but avail.idx is {1}",
    "avail-overrun": "position {0} would put {1} requests in flight, more than the queue has entries",
    "chain-cut": "the chain at position {0} goes on beyond the announced position {1}",
    "chain-loop": "the chain at head {0} does not end within {1} descriptors",
    "chain-too-long": "the chain at head {0} has more than {1} segments",
    "console-readable": "the chain at head {0} has {1} readable bytes, but a console only writes to what it fills",
    "console-writable": "the chain at head {0} has {1} writable bytes, but a console only reads what it puts out",
    "control-event": "a driver does not send control event {0} (of port {1})",
    "control-port": "control of port {0}, but there are {1}",
    "control-room": "a control buffer has {0} bytes, but the message has {1}",
    "control-short": "the control message at head {0} has {1} bytes, less than its header",
    "copy-refused": "the platform answered {0} to a copy, after {1} were made",
    "credit-overrun": "position {0} was announced before the right to announce was given back (at {1})",
    "credit-unowed": "a credit came back that was not away (used {0}, told {1})",
    "descriptor-range": "descriptor {0} is named, but there are {1}",
    "descriptor-unmarked": "the descriptor at position {0} was announced, but is not marked available (flags {1})",
    "entropy-readable": "the chain at head {0} has {1} readable bytes, but an entropy request is only written to",
    "head-in-flight": "head {0} was made available again while in flight (at position {1})",
    "head-range": "head {0} is named, but the queue has {1} entries",
    "header-short": "the request at head {0} has {1} readable bytes, less than its header",
    "indirect-nested": "entry {1} of the indirect table at head {0} names another table",
    "indirect-next": "the descriptor at head {0} is both indirect and continued (flags {1})",
    "indirect-refused": "head {0} uses an indirect table of {1} bytes, which was not negotiated",
    "indirect-size": "the indirect table at head {0} has {1} bytes",
    "queue-address": "a part of the queue lies at {0:#x}, which {1} does not divide",
    "queue-size": "a ring has a power of two of entries up to {1}, not {0}",
    "readable-after-writable": "the chain at head {0} has a readable segment ({1}) after a writable one",
    "record-empty": "a record names no bytes at all: address {0:#x}, flags {1:#x}",
    "record-flags": "a record's flags {0:#x} cannot be, with a segment of {1} bytes",
    "record-marker": "record {1} of a batch begins with {0:#x}",
    "record-name": "a record is of device, queue and session {0:#x}, not {1:#x}",
    "record-replayed": "head {0} stands where the list of requests in flight has {1}",
    "record-announced": "an announcement ({0}) of a paired queue, whose records announce themselves (came {1})",
    "record-refused": "completion record {1} of a batch was refused: code {0:#x}",
    "resume-positions": "{0} heads are in flight by position, {1} by list",
    "status-missing": "the request at head {0} has {1} writable bytes, no room for its status",
    "zero-length": "the chain at head {0} has a segment ({1}) without bytes",
}


def refuse(rule: str, first: int, second: int) -> int:
    """Raise the driver's fault; the numbers go where the rule's text wants them."""
    raise DriverFault(rule, RULES[rule].format(first, second))
