"""VHDL identifiers for Aa names: legal, unique without regard to case, readable.

In: names as the Aa text has them. Out: names that no VHDL tool refuses, nor a Verilog tool what
``ghdl --synth`` writes, which keeps the names as they are. One ``Namer`` a scope.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["Namer"]

_LEGAL = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")
_RESERVED = frozenset(
    re.findall(
        r"[a-z_0-9]+",
        """
    abs access after alias all and architecture array assert attribute begin block body buffer
    bus case component configuration constant context cover default disconnect downto else elsif
    end entity exit fairness file for force function generate generic group guarded if impure in
    inertial inout is label library linkage literal loop map mod nand new next nor not null of on
    open or others out package parameter port postponed procedure process property protected pure
    range record register reject release rem report restrict return rol ror select sequence
    severity shared signal sla sll sra srl strong subtype then to transport type unaffected units
    until use variable vmode vprop vunit wait when while with xnor xor assume
    clk reset step mem ieee std work unsigned signed std_logic std_logic_vector boolean integer
    natural string line time bit true false resize to_integer to_unsigned to_signed rising_edge
    numeric_std std_logic_1164 shift_left shift_right minimum maximum flag pick field low_bits
    shift_up shift_down turn_left turn_right bit_at one_hot index_of highest_bit all_ones any_one
    parity rtl to_string now
    always assign automatic buf bufif0 bufif1 casex casez cell cmos deassign defparam design disable
    edge endcase endconfig endfunction endgenerate endmodule endprimitive endspecify endtable
    endtask event forever fork genvar highz0 highz1 ifnone incdir include initial inout input
    instance integer join large liblist localparam macromodule medium module nand negedge nmos
    noshowcancelled notif0 notif1 output pmos posedge primitive pull0 pull1 pulldown pullup
    pulsestyle_onevent pulsestyle_ondetect rcmos real realtime reg repeat rnmos rpmos rtran
    rtranif0 rtranif1 scalared showcancelled small specify specparam strong0 strong1 supply0
    supply1 table task tran tranif0 tranif1 tri tri0 tri1 triand trior trireg uwire vectored wand
    weak0 weak1 wire wor""",
    )
)


@dataclass(slots=True)
class Namer:
    """Gives every name once."""

    taken: set[str] = field(default_factory=set[str])

    def claim(self, wanted: str) -> str:
        """Return ``wanted`` or, where it is taken or no VHDL name, a name like it."""
        stem = wanted
        if not _LEGAL.fullmatch(stem):
            stem = re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_") or "n"
            stem = stem if stem[0].isalpha() else f"n{stem}"
        name, serial = stem, 1
        while name.lower() in self.taken or name.lower() in _RESERVED:
            serial += 1
            name = f"{stem}_n{serial}"
        self.taken.add(name.lower())
        return name
