"""Signed products of GHDL's Verilog, made short: the text, the meaning, and one DSP block each."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pyahir.sim.tools import require_tool
from pyahir.synth import resources_of, synthesize
from pyahir.synth.products import narrow_products

VHDL = """\
library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;
entity product is
  port (clk : in std_logic; a : in signed({a} downto 0); b : in signed({b} downto 0);
        y : out signed({y} downto 0));
end entity;
architecture rtl of product is
begin
  process (clk) begin
    if rising_edge(clk) then
      y <= a * b;
    end if;
  end process;
end architecture;
"""
BOTH = """\
module m
  assign n4_o = {{3{a[4]}}, a}; // sext
  assign n5_o = {{5{b[2]}}, b}; // sext
  assign n6_o = n4_o * n5_o; // smul
endmodule
module other
  assign n6_o = n4_o * n5_o; // smul
  assign n7_o = n4_o * n5_o; // umul
endmodule
"""


def vhdl(a: int, b: int) -> str:
    return VHDL.format(a=a - 1, b=b - 1, y=a + b - 1)


def test_operands_are_those_before_the_extension() -> None:
    """Names are those of one module; unsigned products and all other lines stay."""
    found = narrow_products(BOTH).split("\n")
    expected = BOTH.split("\n")
    expected[3] = "  assign n6_o = $signed(a) * $signed(b); // smul"
    expected[6] = "  assign n6_o = $signed(n4_o) * $signed(n5_o); // smul"
    assert found == expected


def test_text_without_products_stays() -> None:
    text = "module m\n  assign a = {{3{c[4]}}, b}; // sext\nendmodule\n"
    assert narrow_products(text) == text


@pytest.mark.slow
@pytest.mark.ghdl
def test_a_product_of_16_by_14_bits_is_one_dsp_block() -> None:
    netlist = synthesize(vhdl(16, 14), "product", "xc7")
    assert resources_of("xc7", netlist.cells["product"]).dsp == 1


@pytest.mark.ghdl
def test_the_short_product_is_the_same_circuit(tmp_path: Path) -> None:
    """yosys proves the two texts equal, and finds a difference where there is one."""
    (tmp_path / "p.vhd").write_text(vhdl(5, 4))
    command = [require_tool("ghdl"), "--synth", "--std=08", "--out=verilog", "p.vhd", "-e"]
    wide = subprocess.run(
        [*command, "product"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    short = narrow_products(wide)
    assert short != wide
    assert proves(wide, short, tmp_path)
    assert not proves(wide, short.replace("$signed(b)", "b"), tmp_path)


def proves(gold: str, gate: str, folder: Path) -> bool:
    (folder / "gold.v").write_text(gold)
    (folder / "gate.v").write_text(gate)
    script = (
        "read_verilog gold.v; rename product gold; read_verilog gate.v; rename product gate; "
        "proc; miter -equiv -flatten -make_assert gold gate both; "
        "sat -verify -prove-asserts -tempinduct -set-init-undef both"
    )
    done = subprocess.run(
        [require_tool("yosys"), "-q", "-p", script], cwd=folder, capture_output=True, check=False
    )
    return done.returncode == 0
