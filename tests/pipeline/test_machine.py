from __future__ import annotations

import pytest

from pipeline import machine

X86 = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Processor @ 2.10GHz
flags\t\t: fpu vme

processor\t: 1
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Processor @ 2.10GHz
"""
PI = """processor\t: 0
BogoMIPS\t: 108.00
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

Model\t\t: Raspberry Pi 4 Model B Rev 1.4
"""
BIG_LITTLE = PI + PI.replace("0xd08", "0xd03") + PI


def test_processor_is_its_model_name_when_there_is_one() -> None:
    assert machine.name_in(X86, "x86_64") == "Intel(R) Xeon(R) Processor @ 2.10GHz"


@pytest.mark.parametrize(
    ("listed", "name"),
    [
        (PI, "aarch64 implementer 0x41 part 0xd08"),
        (BIG_LITTLE, "aarch64 implementer 0x41 part 0xd08 0xd03"),
        (
            "model name\t: ARMv7 Processor rev 3 (v7l)\n" + PI,
            "ARMv7 Processor rev 3 (v7l) implementer 0x41 part 0xd08",
        ),
    ],
    ids=["one kind of core", "two kinds of core", "a name that many share"],
)
def test_processor_is_its_maker_and_part_when_it_is_of_arm(listed: str, name: str) -> None:
    assert machine.name_in(listed, "aarch64") == name


def test_processor_has_no_name_when_none_is_listed() -> None:
    assert machine.name_in("", "riscv64") == ""
    assert machine.cpu()  # but something is said of every machine
