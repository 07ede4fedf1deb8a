# SPDX-License-Identifier: Apache-2.0
"""What IBM's pair has to show, in order, in one run: each check leaves both guests ready for the next.

Where IBM's own driver cannot recover, the check states what it does instead.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from virtio_crq.errors import VirtioCrqError
from virtio_crq.guests.complaints import STOCK_TROUBLE
from virtio_crq.guests.witnesses import Pair

FIO = "fio --filename=/dev/sda --bs=4k --ioengine=libaio --iodepth=16 --direct=1 --name"
# A region that is written once and read again after each of the client's lives; loads go elsewhere.
KEPT = "--offset=128m --size=4m --verify=crc32c --verify_fatal=1"
LOAD = "--size=64m --time_based --runtime=600"
ONE_READ = "dd if=/dev/sda of=/dev/null bs=4k count=1 iflag=direct"
BORNE = "Error from Enable Prepare for Suspend: -2"  # a platform without H_VIOCTL; the driver goes on
SECONDS = 120.0  # for a load that takes one or two: other work may be on the machine
COMPLAINTS = re.compile(STOCK_TROUBLE)


class Disagreement(VirtioCrqError):
    """The drivers did not do what they do on PowerVM."""


@dataclass(frozen=True)
class WitnessCheck:
    """`run` gives a line for people, or raises."""

    name: str
    shows: str
    run: Callable[[Pair], str]


def _says(text: str, *wanted: str) -> None:
    for words in wanted:
        if words not in text:
            raise Disagreement(f"the kernel did not say {words!r}, but: {' | '.join(text.splitlines()[-6:])}")


def _silent(pair: Pair) -> None:
    """The server's driver has nothing to say: every code it met was one that it takes quietly."""
    lines = [line for line in pair.server.news().splitlines() if "ibmvscsis" in line and BORNE not in line]
    if lines:
        raise Disagreement(f"the server's driver complained: {lines[-1]}")


def healthy(pair: Pair) -> None:
    """Neither kernel complained of itself, nor of a hypercall."""
    for side in (pair.server, pair.client):
        for line in side.run("dmesg").splitlines():
            if COMPLAINTS.search(line):
                raise Disagreement(f"guest {side.name}: {line}")


def _verify(pair: Pair) -> None:
    pair.client.run(f"{FIO}=kept --rw=read {KEPT} --verify_only >/dev/null", SECONDS)


def login(pair: Pair) -> str:
    news = pair.client.news()
    _says(news, "partner initialization complete", "host srp version: 16.a, host partition target (1), OS 2")
    _says(news, "SRP_LOGIN succeeded", "Attached SCSI disk")
    _silent(pair)
    pair.client.run(f"{FIO}=kept --rw=write {KEPT} --do_verify=0 >/dev/null", SECONDS)
    _verify(pair)
    return "INIT, ADAPTER_INFO and SRP login; the disk is there"


def filesystem(pair: Pair) -> str:
    # By their paths: busybox' shell takes its own programs of these names.
    pair.client.run("/usr/bin/mke2fs -q -F -t ext4 /dev/sda 96m && mkdir -p /mnt && mount /dev/sda /mnt")
    verify = "--rw=randrw --size=8m --bs=4k --ioengine=libaio --iodepth=16 --direct=1 --verify=crc32c --verify_fatal=1"
    pair.client.run(f"fio --name=verified --directory=/mnt {verify} >/dev/null", SECONDS)
    pair.client.run("umount /mnt && /usr/bin/e2fsck -fn /dev/sda")
    _verify(pair)
    return "mke2fs, fio with crc32c, e2fsck"


def client_reboots(pair: Pair) -> str:
    ending = pair.client.reboot()
    if ending is None or ending.why != "reboot":
        raise Disagreement(f"the client's guest did not reboot: {ending}")
    pair.until("client_queue", "closed")
    pair.start_client()
    _verify(pair)
    _silent(pair)
    return "the server takes the new login; what was written is there"


def client_killed(pair: Pair) -> str:
    pair.client.run(f"({FIO}=load --rw=randwrite {LOAD} >/dev/null 2>&1 &); sleep 1")
    pair.client.kill()
    pair.until("client_queue", "closed")
    pair.start_client()
    _verify(pair)
    _silent(pair)
    return "kill -9 in the middle of writes: 0xFF01, quietly ready for the successor"


def server_disabled(pair: Pair) -> str:
    pair.client.news()
    pair.server.run(pair.target.disable())
    pair.until("server_queue", "closed")
    if not pair.client.fails(ONE_READ):
        raise Disagreement("a read went through while the server was disabled")
    _says(pair.client.news(), "Virtual adapter failed rc 2", "error after reset")
    pair.server.run(pair.target.enable())
    pair.wait_for_login()
    pair.client.run(ONE_READ)
    _verify(pair)
    _silent(pair)
    return "reads fail at once (ibmvscsi does not wait); logged in again when it is enabled, without a scan"


def server_killed(pair: Pair) -> str:
    pair.client.news()
    pair.client.run(
        f"({FIO}=load --rw=randread {LOAD} >/dev/null 2>&1; echo $? >/tmp/status) >/dev/null 2>&1 & sleep 1"
    )
    pair.server.kill()
    pair.until("server_queue", "closed")
    pair.client.run("n=0; until [ -s /tmp/status ]; do n=$((n + 1)); [ $n -lt 300 ] || exit 1; usleep 100000; done")
    if pair.client.run("cat /tmp/status").strip() == "0":
        raise Disagreement("the load did not see that its server had died")
    _says(pair.client.news(), "Virtual adapter failed rc 1", "error after reset", "hostbyte=DID_ERROR")
    pair.server.start()
    pair.server.wait()
    pair.offer()
    pair.wait_for_login()
    pair.client.run(ONE_READ)
    return "kill -9 in the middle of reads: DID_ERROR at once (ibmvscsi cannot wait); logged in again with the new one"


def server_reboots(pair: Pair) -> str:
    pair.client.news()
    ending = pair.server.reboot()
    if ending is None or ending.why != "reboot":
        raise Disagreement(f"the server's guest did not reboot: {ending}")
    pair.until("server_queue", "closed")
    pair.server.start()
    pair.server.wait()
    pair.offer()
    pair.wait_for_login()
    pair.client.run(ONE_READ)
    return "logged in again without a scan; the disk is the new server's"


def client_first(pair: Pair) -> str:
    pair.server.run(pair.target.disable())
    pair.until("server_queue", "closed")
    pair.client.kill()
    pair.until("client_queue", "closed")
    pair.client.start()
    pair.client.wait()
    pair.load()
    pair.server.run(pair.target.enable())
    pair.wait_for_login()
    if not pair.client.fails("[ -b /dev/sda ]"):
        raise Disagreement("the client scanned although its first INIT found nobody")
    pair.client.run("for host in /sys/class/scsi_host/host*; do echo '- - -' >$host/scan; done")
    pair.wait_for_disk()
    return "a client that was there first logs in and does not scan; told to, it finds the disk"


CHECKS = (
    WitnessCheck("login", "the drivers find each other", login),
    WitnessCheck("filesystem", "a file system, verified", filesystem),
    WitnessCheck("client-reboots", "the client's guest reboots", client_reboots),
    WitnessCheck("client-killed", "the client's guest is killed under load", client_killed),
    WitnessCheck("server-disabled", "the server frees its queue and comes back", server_disabled),
    WitnessCheck("server-killed", "the server's guest is killed under load", server_killed),
    WitnessCheck("server-reboots", "the server's guest reboots", server_reboots),
    WitnessCheck("client-first", "the client before the server", client_first),
)
