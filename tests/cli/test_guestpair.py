# SPDX-License-Identifier: Apache-2.0
"""The pair that a person boots by hand is the witnesses' own: machine, drivers, commands."""

import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from virtio_crq.cli.guestpair import machine_text
from virtio_crq.cli.guests import app
from virtio_crq.guests.witnesses import CLIENT, SERVER, Parts, load_command, script
from virtio_crq.hypervisor.machinefile import parse_machine_file

PARTS = Parts("6.1.0", Path("vmlinux"), Path("x/server.img"), Path("x/client.img"), {}, ("ibmvscsi",))


def test_its_machine_file_boots_either_guest_without_further_words(tmp_path: Path) -> None:
    machine = parse_machine_file(machine_text(PARTS, "7.2", "power8"), tmp_path / "pair.toml")
    rows = {name: machine.partition(name) for name in (SERVER, CLIENT)}
    assert [row.kernel for row in rows.values()] == ["7.2", "7.2"]
    assert [str(row.initrd) for row in rows.values()] == [str(tmp_path / "server.img"), str(tmp_path / "client.img")]
    assert all(row.guest for row in rows.values())


@pytest.mark.skipif(shutil.which("sh") is None, reason="no shell")
def test_the_drivers_are_loaded_in_order_and_a_failure_ends_it(tmp_path: Path) -> None:
    text = load_command(("first", "ibmvscsi"))
    assert [line.split()[1] for line in text.splitlines()[1:]] == ["/witness/first.ko", "/witness/ibmvscsi.ko"]
    file = tmp_path / "load"
    file.write_bytes(script(text.replace("insmod", "false")) + b"echo on\n")
    file.chmod(0o755)
    done = subprocess.run([file], capture_output=True, check=False)
    assert (done.returncode != 0, done.stdout) == (True, b"")


def test_a_file_in_the_directorys_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "pair").write_text("")
    done = CliRunner().invoke(app, ["pair", str(tmp_path / "pair")])
    assert "is there already, and is no directory" in str(done.exception)


@pytest.mark.parametrize("words", [["--kernel", "5.10"], ["--profile", "power3"]])
def test_what_is_not_there_is_refused_and_nothing_is_made(words: list[str], tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["pair", str(tmp_path / "new"), *words]).exit_code != 0
    assert not (tmp_path / "new").exists()
