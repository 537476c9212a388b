"""The VHDL that every design begins with: functions for Aa operators, pipes and a memory.

In: nothing. Out: one text. The functions give the hardware meaning of operators that numeric_std
does not have in that form; the FIFO moves one word a cycle from depth 2 on; the memory has a
synchronous read port and infers block RAM.
"""

from __future__ import annotations

__all__ = ["COMPONENTS", "PACKAGE"]

CONTEXT = """\
library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;
"""

_BOTH = """\
  function pick(test : boolean; if_true, if_false : {kind}) return {kind};
  function shift_up(value : {kind}; amount : natural) return {kind};
  function shift_up(value : {kind}; amount : unsigned) return {kind};
  function shift_down(value : {kind}; amount : natural) return {kind};
  function shift_down(value : {kind}; amount : unsigned) return {kind};
  function turn_left(value : {kind}; amount : natural) return {kind};
  function turn_left(value : {kind}; amount : unsigned) return {kind};
  function turn_right(value : {kind}; amount : natural) return {kind};
  function turn_right(value : {kind}; amount : unsigned) return {kind};
  function low_bits(value : {kind}; width : positive) return unsigned;
  function all_ones(value : {kind}) return unsigned;
  function any_one(value : {kind}) return unsigned;
  function parity(value : {kind}) return unsigned;
"""

_BOTH_BODY = """\
  function pick(test : boolean; if_true, if_false : {kind}) return {kind} is
  begin
    if test then
      return if_true;
    end if;
    return if_false;
  end function;

  function shift_up(value : {kind}; amount : natural) return {kind} is
  begin
    return shift_left(value, amount);
  end function;

  function shift_up(value : {kind}; amount : unsigned) return {kind} is
  begin
    return shift_left(value, reach(amount, value'length));
  end function;

  function shift_down(value : {kind}; amount : natural) return {kind} is
  begin
    return shift_right(value, amount);
  end function;

  function shift_down(value : {kind}; amount : unsigned) return {kind} is
  begin
    return shift_right(value, reach(amount, value'length));
  end function;

  function turn_left(value : {kind}; amount : natural) return {kind} is
  begin
    return {kind}(rotate_left(unsigned(value), amount mod value'length));
  end function;

  function turn_left(value : {kind}; amount : unsigned) return {kind} is
  begin
    return {kind}(
      rotate_left(unsigned(value), reach(amount, value'length) mod value'length));
  end function;

  function turn_right(value : {kind}; amount : natural) return {kind} is
  begin
    return {kind}(rotate_right(unsigned(value), amount mod value'length));
  end function;

  function turn_right(value : {kind}; amount : unsigned) return {kind} is
  begin
    return {kind}(
      rotate_right(unsigned(value), reach(amount, value'length) mod value'length));
  end function;

  function low_bits(value : {kind}; width : positive) return unsigned is
    alias bits : {kind}(value'length - 1 downto 0) is value;
  begin
    if width <= value'length then
      return unsigned(bits(width - 1 downto 0));
    end if;
    return unsigned(resize(value, width));
  end function;

  function all_ones(value : {kind}) return unsigned is
    variable result : std_logic := '1';
  begin
    for i in value'range loop
      result := result and value(i);
    end loop;
    return unsigned'(0 downto 0 => result);
  end function;

  function any_one(value : {kind}) return unsigned is
    variable result : std_logic := '0';
  begin
    for i in value'range loop
      result := result or value(i);
    end loop;
    return unsigned'(0 downto 0 => result);
  end function;

  function parity(value : {kind}) return unsigned is
    variable result : std_logic := '0';
  begin
    for i in value'range loop
      result := result xor value(i);
    end loop;
    return unsigned'(0 downto 0 => result);
  end function;
"""

_ONCE = """\
  function digits(count : positive) return natural;
  function reach(amount : unsigned; width : positive) return natural;
  function flag(test : boolean) return unsigned;
  function bit_of(test : boolean) return std_logic;
  function field(value : unsigned; high, low : natural) return unsigned;
  function bit_at(value, index : unsigned) return unsigned;
  function one_hot(value : unsigned) return unsigned;
  function index_of(value : unsigned) return unsigned;
  function highest_bit(value : unsigned) return unsigned;
"""

_ONCE_BODY = """\
  function digits(count : positive) return natural is
    variable size : natural := 0;
  begin
    while 2**size < count loop
      size := size + 1;
    end loop;
    return size;
  end function;

  -- The amount of a shift: so many low bits of it that twice the width nearly fits.
  function reach(amount : unsigned; width : positive) return natural is
  begin
    return to_integer(resize(amount, digits(width) + 1));
  end function;

  function flag(test : boolean) return unsigned is
  begin
    if test then
      return "1";
    end if;
    return "0";
  end function;

  function bit_of(test : boolean) return std_logic is
  begin
    if test then
      return '1';
    end if;
    return '0';
  end function;

  function field(value : unsigned; high, low : natural) return unsigned is
    alias bits : unsigned(value'length - 1 downto 0) is value;
  begin
    return bits(high downto low);
  end function;

  function bit_at(value, index : unsigned) return unsigned is
    alias bits : unsigned(value'length - 1 downto 0) is value;
    constant size : natural := digits(value'length);
    variable place : natural := 0;
  begin
    if size > 0 then
      place := to_integer(resize(index, size));
    end if;
    if place < value'length then
      return unsigned'(0 downto 0 => bits(place));
    end if;
    return "0";
  end function;

  function one_hot(value : unsigned) return unsigned is
    variable result : unsigned(2**value'length - 1 downto 0) := (others => '0');
  begin
    result(to_integer(value)) := '1';
    return result;
  end function;

  function index_of(value : unsigned) return unsigned is
    alias bits : unsigned(value'length - 1 downto 0) is value;
    constant size : natural := digits(value'length);
    variable result : unsigned(size - 1 downto 0) := (others => '0');
  begin
    for i in bits'range loop
      if bits(i) = '1' then
        result := result or to_unsigned(i, size);
      end if;
    end loop;
    return result;
  end function;

  function highest_bit(value : unsigned) return unsigned is
    alias bits : unsigned(value'length - 1 downto 0) is value;
    variable result : unsigned(value'length - 1 downto 0) := (others => '0');
  begin
    for i in bits'range loop
      if bits(i) = '1' then
        result(i) := '1';
        return result;
      end if;
    end loop;
    return result;
  end function;
"""


def _package() -> str:
    kinds = ("unsigned", "signed")
    heads = "".join(_BOTH.format(kind=kind) for kind in kinds)
    bodies = "\n".join(_BOTH_BODY.format(kind=kind) for kind in kinds)
    return (
        f"-- What the operators of Aa do, where numeric_std has no function of that meaning.\n"
        f"{CONTEXT}\npackage aa_support is\n{heads}{_ONCE}end package;\n\n"
        f"package body aa_support is\n{bodies}\n{_ONCE_BODY}end package body;\n"
    )


PACKAGE = _package()

COMPONENTS = {
    "fifo": f"""\
-- A blocking pipe: first word falls through, one word a cycle in each direction from depth 2 on.
{CONTEXT}
use work.aa_support.all;

entity aa_fifo is
  generic (width, depth : positive);
  port (
    clk, reset  : in  std_logic;
    write_data  : in  std_logic_vector(width - 1 downto 0);
    write_put   : in  std_logic;
    write_room  : out std_logic;
    read_data   : out std_logic_vector(width - 1 downto 0);
    read_take   : in  std_logic;
    read_valid  : out std_logic);
end entity;

architecture rtl of aa_fifo is
  type words is array (0 to depth - 1) of std_logic_vector(width - 1 downto 0);
  signal store : words := (others => (others => '0'));
  signal first, last : natural range 0 to depth - 1 := 0;
  signal count : natural range 0 to depth := 0;
  signal has_room, has_word : std_logic := '0';
begin
  write_room <= has_room;
  read_valid <= has_word;

  process (clk)
    variable following : natural range 0 to depth;
  begin
    if rising_edge(clk) then
      if reset = '1' then
        first <= 0;
        last <= 0;
        count <= 0;
        has_word <= '0';
        has_room <= '1';
      elsif write_put = '1' or read_take = '1' then
        following := count;
        if write_put = '1' then
          store(last) <= write_data;
          if last = depth - 1 then
            last <= 0;
          else
            last <= last + 1;
          end if;
        end if;
        if read_take = '1' then
          if first = depth - 1 then
            first <= 0;
          else
            first <= first + 1;
          end if;
        end if;
        if write_put = '1' and read_take = '0' then
          following := count + 1;
        elsif write_put = '0' and read_take = '1' then
          following := count - 1;
        end if;
        count <= following;
        if following = 0 then
          has_word <= '0';
        else
          has_word <= '1';
        end if;
        if following = depth then
          has_room <= '0';
        else
          has_room <= '1';
        end if;
      end if;
    end if;
  end process;

  -- A small one is read where it stands: distributed RAM.
  small : if depth < 128 or depth * width < 4096 generate
    read_data <= store(first);
  end generate;

  -- A large one is read a cycle ahead, as block RAM wants it; a word that is written where the
  -- next one is read goes past the RAM.
  large : if depth >= 128 and depth * width >= 4096 generate
    signal ahead : natural range 0 to depth - 1;
    signal word, passed : std_logic_vector(width - 1 downto 0) := (others => '0');
    signal past : std_logic := '0';
  begin
    ahead <= first when read_take = '0' else 0 when first = depth - 1 else first + 1;
    read_data <= passed when past = '1' else word;

    process (clk)
    begin
      if rising_edge(clk) then
        word <= store(ahead);
        passed <= write_data;
        past <= bit_of(write_put = '1' and ahead = last);
      end if;
    end process;
  end generate;
end architecture;
""",
    "lifo": f"""\
-- A stack: last in, first out; a word that comes while the top one goes takes its place.
{CONTEXT}
entity aa_lifo is
  generic (width, depth : positive);
  port (
    clk, reset  : in  std_logic;
    write_data  : in  std_logic_vector(width - 1 downto 0);
    write_put   : in  std_logic;
    write_room  : out std_logic;
    read_data   : out std_logic_vector(width - 1 downto 0);
    read_take   : in  std_logic;
    read_valid  : out std_logic);
end entity;

architecture rtl of aa_lifo is
  type words is array (0 to depth - 1) of std_logic_vector(width - 1 downto 0);
  signal store : words := (others => (others => '0'));
  signal count : natural range 0 to depth := 0;
begin
  read_data <= store(0) when count = 0 else store(count - 1);
  write_room <= '0' when count = depth else '1';
  read_valid <= '0' when count = 0 else '1';

  process (clk)
  begin
    if rising_edge(clk) then
      if write_put = '1' and read_take = '1' then
        store(count - 1) <= write_data;
      elsif write_put = '1' then
        store(count) <= write_data;
        count <= count + 1;
      elsif read_take = '1' then
        count <= count - 1;
      end if;
      if reset = '1' then
        count <= 0;
      end if;
    end if;
  end process;
end architecture;
""",
    "signal": f"""\
-- A signal: the last word written, 0 at first; nobody waits for it.
{CONTEXT}
entity aa_signal is
  generic (width : positive);
  port (
    clk, reset : in  std_logic;
    write_data : in  std_logic_vector(width - 1 downto 0);
    write_put  : in  std_logic;
    read_data  : out std_logic_vector(width - 1 downto 0));
end entity;

architecture rtl of aa_signal is
  signal word : std_logic_vector(width - 1 downto 0) := (others => '0');
begin
  read_data <= word;

  process (clk)
  begin
    if rising_edge(clk) then
      if write_put = '1' then
        word <= write_data;
      end if;
      if reset = '1' then
        word <= (others => '0');
      end if;
    end if;
  end process;
end architecture;
""",
    "memory": f"""\
-- A storage: one writer, one reader; the word read stays until the next read.
{CONTEXT}
entity aa_memory is
  generic (width, words, address_bits : positive);
  port (
    clk           : in  std_logic;
    write_enable  : in  std_logic;
    write_address : in  std_logic_vector(address_bits - 1 downto 0);
    write_data    : in  std_logic_vector(width - 1 downto 0);
    read_enable   : in  std_logic;
    read_address  : in  std_logic_vector(address_bits - 1 downto 0);
    read_data     : out std_logic_vector(width - 1 downto 0));
end entity;

architecture rtl of aa_memory is
  signal word : std_logic_vector(width - 1 downto 0) := (others => '0');
begin
  read_data <= word;

  many : if words > 1 generate
    type memory is array (0 to words - 1) of std_logic_vector(width - 1 downto 0);
    signal store : memory := (others => (others => '0'));
  begin
    process (clk)
    begin
      if rising_edge(clk) then
        if write_enable = '1' then
          store(to_integer(unsigned(write_address))) <= write_data;
        end if;
        if read_enable = '1' then
          word <= store(to_integer(unsigned(read_address)));
        end if;
      end if;
    end process;
  end generate;

  -- An array of one word has no address, which GHDL's synthesis does not take.
  one : if words = 1 generate
    signal store : std_logic_vector(width - 1 downto 0) := (others => '0');
  begin
    process (clk)
    begin
      if rising_edge(clk) then
        if write_enable = '1' then
          store <= write_data;
        end if;
        if read_enable = '1' then
          word <= store;
        end if;
      end if;
    end process;
  end generate;
end architecture;
""",
}
