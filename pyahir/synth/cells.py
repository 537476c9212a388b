"""What the cells of three FPGA families cost, in units that can be added up.

In: counts of cells by type, as yosys prints them. Out: ``Resources``. The figures are those of the
families' libraries: a RAM64M, for example, fills the four LUTs of a slice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from pyahir.errors import PyahirError

__all__ = ["FAMILIES", "Family", "Resources", "SynthesisError", "resources_of"]


class SynthesisError(PyahirError):
    """A design of which no area can be told.

    Cause: a tool that refuses the design or takes too long, or a cell that nobody has weighed.
    Example: ``synth: yosys took longer than 60 s; give more with --timeout, or ...``.
    Fix: as the message says; ``--keep`` leaves the Verilog and the log.
    """


@dataclass(frozen=True, slots=True)
class Resources:
    """Parts of a chip. ``lut`` holds those used as memory too, which ``ram_lut`` counts alone."""

    lut: int = 0
    ram_lut: int = 0
    ff: int = 0
    dsp: int = 0
    block_ram: int = 0
    latch: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in _NAMES})

    def times(self, count: int) -> Resources:
        """Give the resources of ``count`` copies."""
        return Resources(**{field.name: count * getattr(self, field.name) for field in _NAMES})


_NAMES = fields(Resources)
_NOTHING = Resources()


def _ram(luts: int) -> Resources:
    return Resources(lut=luts, ram_lut=luts)


@dataclass(frozen=True, slots=True)
class Family:
    """A family of chips: yosys's command, and what its cells cost; the first pattern that fits."""

    script: str
    block_bits: int
    costs: tuple[tuple[str, Resources], ...]


_LUT, _FF, _LATCH = Resources(lut=1), Resources(ff=1), Resources(latch=1)
_DSP, _BLOCK = Resources(dsp=1), Resources(block_ram=1)

FAMILIES: Mapping[str, Family] = {
    # Pads and clock buffers are left out: the design is a part of something larger.
    "xc7": Family(
        "synth_xilinx -family xc7 -noiopad -noclkbuf",
        18 * 1024,
        (
            (r"LUT[1-6]|INV", _LUT),
            (r"FD[RSCP]E(_1)?", _FF),
            (r"LD[CP]E", _LATCH),
            (r"DSP48E1", _DSP),
            (r"RAMB18E1", _BLOCK),
            (r"RAMB36E1", Resources(block_ram=2)),
            (r"RAM(32|64)M|RAM128X1D|RAM256X1S", _ram(4)),
            (r"RAM(32|64)X1D|RAM128X1S", _ram(2)),
            (r"RAM(32|64)X1S|SRL16E|SRLC32E", _ram(1)),
            (r"CARRY4|MUXF[78]|VCC|GND", _NOTHING),  # they lie beside LUTs of the same slice
        ),
    ),
    "ice40": Family(
        "synth_ice40 -dsp -noflatten",
        4 * 1024,
        (
            (r"SB_LUT4", _LUT),
            (r"SB_DFF\w*", _FF),
            (r"SB_MAC16", _DSP),
            (r"SB_RAM40_4K\w*", _BLOCK),
            (r"SB_CARRY|SB_GB", _NOTHING),
        ),
    ),
    "ecp5": Family(
        "synth_ecp5 -noflatten",
        18 * 1024,
        (
            (r"LUT4", _LUT),
            (r"CCU2C", Resources(lut=2)),
            (r"TRELLIS_FF", _FF),
            (r"MULT18X18D", _DSP),
            (r"DP16KD|PDPW16KD", _BLOCK),
            (r"TRELLIS_DPR16X4", _ram(4)),
            (r"PFUMX|L6MUX21|ALU54B", _NOTHING),
        ),
    ),
}


def resources_of(family: str, cells: Mapping[str, int]) -> Resources:
    """Add up the cells of one module; a type that is not known is an error, not nothing."""
    total = _NOTHING
    for kind, count in cells.items():
        for pattern, cost in FAMILIES[family].costs:
            if re.fullmatch(pattern, kind):
                total += cost.times(count)
                break
        else:
            known = ", ".join(pattern for pattern, _ in FAMILIES[family].costs)
            raise SynthesisError(f"synth: yosys made {count} cells '{kind}'; known are {known}")
    return total
