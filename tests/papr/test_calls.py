# SPDX-License-Identifier: Apache-2.0
"""Calls, codes, TCEs and H_VIOCTL buffers, against the numbers of LoPAR's tables."""

import pytest

from virtio_crq.errors import PlatformError, UsageError
from virtio_crq.papr import hypercalls, profiles, returncodes, tce, vioctl
from virtio_crq.papr.hypercalls import SIGNATURES, Hypercall
from virtio_crq.papr.returncodes import ReturnCode
from virtio_crq.papr.tce import TceAccess
from virtio_crq.papr.vioctl import PartnerInfo

NUMBERS = {
    "H_GET_TCE": 0x1C, "H_PUT_TCE": 0x20, "H_REG_CRQ": 0xFC, "H_FREE_CRQ": 0x100, "H_VIO_SIGNAL": 0x104,
    "H_SEND_CRQ": 0x108, "H_PUT_RTCE": 0x10C, "H_COPY_RDMA": 0x110, "H_WRITE_RDMA": 0x128, "H_READ_RDMA": 0x12C,
    "H_STUFF_TCE": 0x138, "H_PUT_TCE_INDIRECT": 0x13C, "H_PUT_RTCE_INDIRECT": 0x140, "H_REMOVE_RTCE": 0x24C,
    "H_LIOBN_ATTRIBUTES": 0x240,
    "H_VIOCTL": 0x2A8, "H_ENABLE_CRQ": 0x2B0, "H_REG_SUB_CRQ": 0x2DC, "H_FREE_SUB_CRQ": 0x2E0,
    "H_SEND_SUB_CRQ": 0x2E4, "H_SEND_SUB_CRQ_INDIRECT": 0x2E8,
}  # fmt: skip
CODES = {
    "H_SUCCESS": 0, "H_BUSY": 1, "H_CLOSED": 2, "H_CONSTRAINED": 4, "H_IN_PROGRESS": 14, "H_HARDWARE": -1,
    "H_FUNCTION": -2, "H_PARAMETER": -4, "H_NOT_FOUND": -7, "H_PERMISSION": -11, "H_DROPPED": -12, "H_S_PARM": -13,
    "H_D_PARM": -14, "H_R_PARM": -15, "H_RESOURCE": -16, "H_RESCINDED": -46, "H_P2": -55, "H_P4": -57, "H_P9": -62,
}  # fmt: skip


def test_opcodes_are_those_of_the_table_and_multiples_of_four() -> None:
    assert {call.name: int(call) for call in Hypercall} == NUMBERS
    assert all(call % 4 == 0 for call in Hypercall)


@pytest.mark.parametrize(("name", "value"), CODES.items())
def test_return_codes_are_those_of_the_table(name: str, value: int) -> None:
    assert ReturnCode[name] == value


def test_busy_means_call_again() -> None:
    again = {code for code in ReturnCode if returncodes.is_busy(code)}
    assert again == {ReturnCode.H_BUSY, ReturnCode.H_IN_PROGRESS, *returncodes.LONG_BUSY_MILLISECONDS}
    assert not returncodes.is_busy(ReturnCode.H_CLOSED)


def test_names_of_what_is_unknown_are_numbers() -> None:
    assert returncodes.code_name(-999) == "-999"
    assert hypercalls.call_name(0x7FC) == "hcall 0x7fc"


def test_every_call_has_a_signature_that_fits_the_registers() -> None:
    assert SIGNATURES.keys() == set(Hypercall)
    for signature in SIGNATURES.values():
        assert len(signature.inputs) <= hypercalls.MAX_REGISTERS >= len(signature.outputs)


def test_a_call_is_described_with_its_arguments_by_name() -> None:
    shown = hypercalls.describe(Hypercall.H_REG_CRQ, (0x30000002, 0, 0x1000, 9, 9))
    assert shown == "H_REG_CRQ(ua=0x30000002, ioba=0x0, length=0x1000)"
    assert hypercalls.describe(0x7FC, (1,)) == "hcall 0x7fc(0x1)"


def test_a_tce_is_a_page_address_with_two_bits() -> None:
    assert tce.tce(0x5000, TceAccess.READ) == 0x5001
    assert tce.split(0x5003) == (0x5000, TceAccess.BOTH)
    with pytest.raises(ValueError, match="not a multiple"):
        tce.tce(0x5001, TceAccess.READ)


@pytest.mark.parametrize(("ioba", "length", "count"), [(0, 0, 0), (0, 1, 1), (4095, 2, 2), (4096, 4096, 1)])
def test_pages_counts_what_a_stretch_touches(ioba: int, length: int, count: int) -> None:
    assert tce.pages(ioba, length) == count


def test_partner_info_survives_its_buffer_and_a_short_one_is_refused() -> None:
    info = PartnerInfo(7, 0x30000002, "U9009.42A.0000000-V7-C2")
    assert vioctl.partner_info(info.encode() + b"rubbish") == info
    for cut in (info.encode()[:-1], info.encode()[:16], b""):
        with pytest.raises(PlatformError, match="location code"):
            vioctl.partner_info(cut)


def test_a_buffer_descriptor_is_control_length_and_address() -> None:
    assert vioctl.buffer_descriptor(0x12345678, 0xABCDEF) == 0x00ABCDEF_12345678
    for ioba, length in ((1 << 32, 0), (0, 1 << 24), (-1, 0)):
        with pytest.raises(ValueError, match="does not fit"):
            vioctl.buffer_descriptor(ioba, length)


def test_profiles_are_found_by_name_and_the_minimum_is_one() -> None:
    assert profiles.profile_named("power8").sub_crq_indirect_limit == 16
    assert profiles.profile_named("power9").sub_crq_indirect_limit == 128
    minimum = profiles.LOPAR_MINIMUM
    assert minimum.max_copy == 128 * 1024
    assert minimum.absent_calls >= profiles.POWER9.absent_calls
    with pytest.raises(UsageError, match="there are lopar-minimum, power8, power9"):
        profiles.profile_named("power7")


def test_no_profile_lacks_what_the_transport_cannot_do_without() -> None:
    needed = {"H_PUT_TCE", "H_REG_CRQ", "H_FREE_CRQ", "H_SEND_CRQ", "H_VIO_SIGNAL", "H_COPY_RDMA"}
    for profile in profiles.PROFILES.values():
        assert not needed & {call.name for call in profile.absent_calls}
