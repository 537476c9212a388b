"""The VHDL of the testbench, as templates.

In: nothing. Out: texts with fields for ``testbench``. They are VHDL-93 and use no package that
differs between the standards, so that ``--std=08`` and ``--std=93 --ieee=synopsys -fexplicit``
both take them.
"""

from __future__ import annotations

__all__ = [
    "CHECK",
    "CLOCK",
    "COMPARE",
    "GOLDEN_DECLARATIONS",
    "HEAD",
    "INPUT",
    "OUTPUT",
    "RESULT",
    "SIGNALS",
    "WRONG_SIGNALS",
]

HEAD = """\
library ieee;
use ieee.std_logic_1164.all;
use ieee.math_real.all;
use std.textio.all;

entity testbench is
end entity;

architecture simulation of testbench is
  constant input_share : real := {input_share};
  constant output_share : real := {output_share};

  function digit_bits(c : character) return std_logic_vector is
    constant digits : string(1 to 16) := "0123456789abcdef";
    variable value : natural := 0;
    variable bits : std_logic_vector(3 downto 0);
  begin
    for i in digits'range loop
      if digits(i) = c then
        value := i - 1;
      end if;
    end loop;
    for i in 0 to 3 loop
      if (value / 2**i) mod 2 = 1 then
        bits(i) := '1';
      else
        bits(i) := '0';
      end if;
    end loop;
    return bits;
  end function;

  function to_word(text : string; width : positive) return std_logic_vector is
    variable bits : std_logic_vector(4 * text'length - 1 downto 0);
    variable place : integer := bits'high;
  begin
    for i in text'range loop
      bits(place downto place - 3) := digit_bits(text(i));
      place := place - 4;
    end loop;
    return bits(width - 1 downto 0);
  end function;

  function to_text(word : std_logic_vector; digits : positive) return string is
    constant names : string(1 to 16) := "0123456789abcdef";
    alias bits : std_logic_vector(word'length - 1 downto 0) is word;
    variable text : string(1 to digits);
    variable value : natural;
  begin
    for i in 0 to digits - 1 loop
      value := 0;
      for j in 0 to 3 loop
        if 4 * i + j < word'length then
          if bits(4 * i + j) = '1' then
            value := value + 2**j;
          elsif bits(4 * i + j) /= '0' then
            value := 16;
          end if;
        end if;
        exit when value > 15;
      end loop;
      if value > 15 then
        text(digits - i) := 'x';
      else
        text(digits - i) := names(value + 1);
      end if;
    end loop;
    return text;
  end function;

  signal clk : std_logic := '0';
  signal reset : std_logic := '1';
  signal ended : boolean := false;
  signal cycle : natural := 0;
  signal last_move : natural := 0;
"""

SIGNALS = """\
  signal {side}_data : std_logic_vector({high} downto 0) := (others => '0');
  signal {side}_req, {side}_ack : std_logic_vector(0 downto 0) := "0";
  signal {name}_count : natural := 0;
  signal {name}_done : boolean := {done};"""

WRONG_SIGNALS = """\
  signal {name}_wrong, {name}_wrong_number, {name}_wrong_cycle : natural := 0;
  signal {name}_expected, {name}_found : string(1 to {digits});"""

# The reset is released just after an edge: the design sees it at the next one.
CLOCK = """\
  clk <= not clk after 5 ns when not ended else '0';
  reset <= '0' after {reset} ns;

  process (clk)
  begin
    if rising_edge(clk) then
      cycle <= cycle + 1;
      if {moved} then
        last_move <= cycle;
      end if;
    end if;
  end process;

  process
    file results : text open write_mode is "testbench.results";
    variable row : line;
    variable reason : string(1 to 5) := "words";
    variable failed : boolean := false;
    variable wrong : natural := 0;
  begin
    wait until rising_edge(clk) and (({finished}) or {overdue});
    if not ({finished}) then
      reason := "quiet";
      if cycle - last_move <= {patience} then
        reason := "limit";
      end if;
      failed := not ({complete});
    end if;
{rows}
    write(row, string'("end ") & reason & string'(" ") & integer'image(cycle));
    writeline(results, row);
    if failed then
      write(row, string'("FAIL"));
      report "testbench: FAIL, words that differ: " & integer'image(wrong) severity error;
    else
      write(row, string'("PASS"));
    end if;
    writeline(results, row);
    file_close(results);
    ended <= true;
    wait;
  end process;
"""

RESULT = """\
    write(row, string'("{kind} {name} ") & integer'image({name}_count) & string'(" {words}"));
    writeline(results, row);"""

COMPARE = """\
    if {name}_wrong > 0 then
      failed := true;
      wrong := wrong + {name}_wrong;
      write(row, string'("wrong {name} ") & integer'image({name}_wrong)
        & string'(" ") & integer'image({name}_wrong_number)
        & string'(" ") & integer'image({name}_wrong_cycle)
        & string'(" ") & {name}_expected & string'(" ") & {name}_found);
      writeline(results, row);
    end if;"""

INPUT = """\
  process
    file words : text open read_mode is "{name}.in";
    file taken : text open write_mode is "{name}.taken";
    variable row : line;
    variable word : string(1 to {digits});
    variable seed1 : positive := {seed};
    variable seed2 : positive := 4711;
    variable chance : real;
  begin
    wait until rising_edge(clk) and reset = '0'{held};
    while not endfile(words) loop
      readline(words, row);
      read(row, word);
      loop
        uniform(seed1, seed2, chance);
        exit when chance >= input_share;
        wait until rising_edge(clk);
      end loop;
      {side}_data <= to_word(word, {width});
      {side}_req <= "1";
      wait until rising_edge(clk) and {side}_ack = "1";
      write(row, integer'image(cycle));
      writeline(taken, row);
      {name}_count <= {name}_count + 1;
      {side}_req <= "0";
    end loop;
    {name}_done <= true;
    wait;
  end process;
"""

OUTPUT = """\
  process
    file words : text open write_mode is "{name}.out";
{declarations}\
    variable row : line;
    variable seed1 : positive := {seed};
    variable seed2 : positive := 1234;
    variable chance : real;
  begin
    wait until rising_edge(clk) and reset = '0';
    {loop}
      loop
        uniform(seed1, seed2, chance);
        exit when chance >= output_share;
        wait until rising_edge(clk);
      end loop;
      {side}_req <= "1";
      wait until rising_edge(clk) and {side}_ack = "1";
      write(row, integer'image(cycle) & string'(" ") & to_text({side}_data, {digits}));
      writeline(words, row);
{check}\
      {name}_count <= {name}_count + 1;
      {side}_req <= "0";
    end loop;
    {name}_done <= true;
    wait;
  end process;
"""

GOLDEN_DECLARATIONS = """\
    file golden : text open read_mode is "{name}.expect";
    variable expected : string(1 to {digits});
    variable wrong : natural := 0;
"""

# "=" is false for a bit that is neither '0' nor '1', so undefined words differ.
CHECK = """\
      readline(golden, row);
      read(row, expected);
      if not ({side}_data = to_word(expected, {width})) then
        if wrong = 0 then
          {name}_wrong_number <= {name}_count;
          {name}_wrong_cycle <= cycle;
          {name}_expected <= expected;
          {name}_found <= to_text({side}_data, {digits});
          report "{name}: word " & integer'image({name}_count) & " in cycle "
            & integer'image(cycle) & ": " & expected & " expected, "
            & to_text({side}_data, {digits}) & " found" severity error;
        end if;
        wrong := wrong + 1;
        {name}_wrong <= wrong;
      end if;
"""
