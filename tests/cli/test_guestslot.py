# SPDX-License-Identifier: Apache-2.0
"""What is typed in a guest to add an adapter is, to the byte, what the kernel wants to read."""

import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from virtio_crq.cli.guests import app
from virtio_crq.cli.guestslot import NODE, commands

MACHINE = """
[machine]
name = "m"
[partition.vios1]
memory = "64M"
[partition.vios2]
memory = "64M"
[partition.web1]
memory = "256M"
guest = true
[[adapter]]
client = "web1"
slot = 2
server = "vios1"
[[adapter]]
client = "web1"
slot = 3
server = "vios2"
boot = false
"""


@pytest.mark.skipif(shutil.which("sh") is None, reason="no shell")
def test_a_shell_makes_the_very_bytes_of_it(tmp_path: Path) -> None:
    node = b"add_node /vdevice/x@3 reg 4 \x30\x00\x00\x03 odd 6 %d\\7'\"" + bytes(range(256))
    lines = [line.replace(NODE, str(tmp_path / "node")) for line in commands(node, "U9-C3")]
    written = [line for line in lines if line.startswith(("rm", "printf '"))]
    subprocess.run(["sh"], input="\n".join(written), text=True, check=True)
    assert (tmp_path / "node").read_bytes() == node
    assert max(map(len, lines)) < 250
    assert lines[-1] == "printf %s 'U9-C3' >/sys/bus/pci/slots/control/add_slot"


def test_the_adapter_is_named_by_its_slot(tmp_path: Path) -> None:
    file = tmp_path / "m.toml"
    file.write_text(MACHINE)
    done = CliRunner().invoke(app, ["slot", str(file), "3"])
    assert done.exit_code == 0, done.output
    assert "add_node /vdevice/virtio-crq@" in done.output
    assert done.output.splitlines()[-1].startswith("printf %s 'U")


@pytest.mark.parametrize(("slot", "why"), [("2", "there at boot"), ("9", "no adapter in slot 9")])
def test_an_adapter_that_cannot_be_added_is_refused(slot: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "m.toml"
    file.write_text(MACHINE)
    assert why in str(CliRunner().invoke(app, ["slot", str(file), slot]).exception)
