"""Makes random modules with choices, loops of both kinds, calls, storages and parallel blocks."""

from __future__ import annotations

import random

__all__ = ["SHARED", "module"]

SHARED = """\
$module [mixed] $in (a : $uint<8> b : $uint<8>) $out (r : $uint<8>) $is
{
  $branchblock [body] {
    $merge $entry again
      $phi i := $zero<8> $on $entry ni $on again
      $phi s := a $on $entry ns $on again
    $endmerge
    ni := (i + 1)
    ns := ((s * 3) + b)
    $if (ni < 3) $then $place [again] $endif
  } (ns => found)
  r := found
}
$pipeline $depth 4 $fullrate $deterministic $operator $module [pair]
  $in (a : $uint<8> b : $uint<8>) $out (low : $uint<8> high : $uint<8>) $is
{
  low := ($mux (a < b) a b)
  high := ($mux (a < b) b a)
}
"""


class _Maker:
    """Writes one module ``m<number>`` with its pipes, its array and its counting function."""

    def __init__(self, seed: int, number: int) -> None:
        self.random = random.Random(seed)
        self.number = number
        self.lines: list[str] = []
        self.known: list[str] = []
        self.flags: list[str] = []
        self.count = 0
        self.depth = 0

    def fresh(self, stem: str = "v") -> str:
        """Give a new name."""
        self.count += 1
        return f"{stem}{self.count}"

    def operand(self) -> str:
        """Give a value of 8 bits."""
        if not self.known or self.random.random() < 0.15:
            return f"($bitcast ($uint<8>) {self.random.randrange(256)})"
        return self.random.choice(self.known[-9:])

    def expression(self) -> str:
        """Give an operator of two values."""
        left, right = self.random.choice(self.known[-9:]), self.operand()
        op = self.random.choice(["+", "-", "*", "&", "|", "^", "<<", ">>", "mux", "reduce"])
        if op == "mux":
            return f"($mux ({left} > {right}) {left} ({right} + 1))"
        if op == "reduce":
            return f"($reduce + {left} {right} {self.operand()})"
        if op in ("<<", ">>"):
            return f"({left} {op} ({right} & 7))"
        return f"({left} {op} {right})"

    def add(self, line: str) -> None:
        self.lines.append("  " * (self.depth + 2) + line)

    def assign(self, value: str, guard: str = "") -> str:
        """Define a new value."""
        name = self.fresh()
        self.add(f"{guard}{name} := {value}")
        self.known.append(name)
        return name

    def body(self, statements: int) -> None:
        """Write some statements."""
        for _ in range(statements):
            kinds = [self.plain] * 4 + [self.pipe] * 2 + [self.array, self.call, self.split]
            if self.depth < 2:
                kinds += [self.choice, self.choice, self.cases, self.repeat, self.pipeline]
                kinds += [self.parallel]
            self.random.choice(kinds)()

    # Single statements

    def plain(self) -> None:
        kind = self.random.random()
        if kind < 0.2:
            name = self.fresh()
            self.add(f"$volatile {name} := {self.expression()}")
            self.known.append(name)
        elif kind < 0.4 and self.known:
            flag = self.fresh("f")
            self.add(f"$volatile {flag} := ({self.operand()} > {self.operand()})")
            self.flags.append(flag)
        elif kind < 0.6 and self.flags:
            sign = self.random.choice(["", "~ "])
            self.assign(self.expression(), f"$guard ({sign}{self.random.choice(self.flags)}) ")
        else:
            self.assign(self.expression())

    def pipe(self) -> None:
        name = self.random.choice([f"p{self.number}", f"q{self.number}"])
        kind = self.random.random()
        if kind < 0.4:
            self.assign(name)
        elif kind < 0.6:
            self.assign(f"({name} + {self.operand()})")
        else:
            self.add(f"o{self.number} := {self.operand()}")

    def array(self) -> None:
        index = self.fresh("x")
        self.add(f"$volatile {index} := ($slice {self.assign(self.operand())} 2 0)")
        if self.random.random() < 0.6:
            self.add(f"r{self.number}[{index}] := {self.operand()}")
        if self.random.random() < 0.3:
            self.add(f"c{self.number} := {self.operand()}")
        word = self.random.choice([f"r{self.number}[{index}]", f"c{self.number}"])
        self.assign(word if self.random.random() < 0.5 else f"({word} ^ {self.operand()})")

    def call(self) -> None:
        kind = self.random.randrange(4)
        if kind == 0:
            self.assign(f"($call mixed ({self.operand()} {self.operand()}))")
            return
        first, second = self.fresh(), self.fresh()
        module = "pair" if kind == 1 else f"count{self.number}"
        guard = ""
        if self.flags and self.random.random() < 0.3:
            guard = f"$guard ({self.random.choice(self.flags)}) "
        arguments = f"{self.operand()} {self.operand()}"
        self.add(f"{guard}$call {module} ({arguments}) ({first} {second})")
        self.known += [first, second]

    def split(self) -> None:
        high, low = self.fresh("h"), self.fresh("l")
        self.add(f"$split ({self.assign(self.operand())} 3 5) ({high} {low})")
        self.assign(f"($bitcast ($uint<8>) {low})")

    # Control

    def nested(self, statements: int) -> None:
        self.depth += 1
        self.body(statements)
        self.depth -= 1

    def choice(self) -> None:
        self.add(f"$if ({self.operand()} > {self.operand()}) $then")
        self.nested(self.random.randint(1, 3))
        if self.random.random() < 0.6:
            self.add("$else")
            self.nested(self.random.randint(1, 3))
        self.add("$endif")

    def cases(self) -> None:
        selector = self.fresh("w")
        self.add(f"$volatile {selector} := ($slice {self.assign(self.expression())} 1 0)")
        self.add(f"$switch {selector}")
        for value in range(self.random.randint(1, 3)):
            self.add(f"$when {value} $then")
            self.nested(self.random.randint(1, 2))
        self.add("$default")
        self.nested(1)
        self.add("$endswitch")

    def repeat(self) -> None:
        """Write a loop of merge and place that runs a few times."""
        label, i, ni, a, na = (self.fresh(stem) for stem in ("again", "i", "n", "a", "n"))
        begin = self.operand()
        self.add(f"$merge $entry {label}")
        self.add(f"  $phi {i} := $zero<8> $on $entry {ni} $on {label}")
        self.add(f"  $phi {a} := {begin} $on $entry {na} $on {label}")
        self.add("$endmerge")
        self.known += [i, a]
        self.add(f"{ni} := ({i} + 1)")
        self.nested(self.random.randint(1, 3))
        self.add(f"{na} := {self.expression()}")
        self.known.append(na)
        self.add(f"$if ({ni} < {self.random.randint(1, 3)}) $then")
        self.add(f"  $place [{label}]")
        self.add("$endif")

    def pipeline(self) -> None:
        """Write a pipelined loop whose values live on."""
        i, ni, sum_, word = (self.fresh(stem) for stem in ("i", "n", "s", "t"))
        begin = self.operand()
        self.add("$dopipeline $depth 7 $fullrate")
        self.add("  $merge $entry $loopback")
        self.add(f"    $phi {i} := {begin} $on $entry {ni} $on $loopback")
        self.add("  $endmerge")
        self.depth += 1
        self.add(f"$volatile {ni} := ({i} + 1)")
        index = self.fresh("x")
        self.add(f"$volatile {index} := ($slice {i} 2 0)")
        self.add(
            f"{word} := {self.random.choice([f'p{self.number}', i, f'r{self.number}[{index}]'])}"
        )
        self.known += [i, word]
        self.add(f"{sum_} := ({sum_} + {word})")
        self.known.append(sum_)
        for _ in range(self.random.randint(1, 4)):
            self.random.choice([self.plain, self.plain, self.split])()
        extra = self.random.random()
        if extra < 0.4:
            self.add(f"r{self.number}[{index}] := {self.operand()}")
        elif extra < 0.7:
            low, high = self.fresh(), self.fresh()
            self.add(f"$call pair ({self.operand()} {self.operand()}) ({low} {high})")
            self.known += [low, high]
        if self.random.random() < 0.6:
            self.add(f"o{self.number} := {self.operand()}")
        if self.random.random() < 0.3:
            self.add(f"o{self.number} := {self.operand()}")
        self.depth -= 1
        mask = self.random.choice([1, 3, 7])
        self.add(f"$while (({ni} & {mask}) != 0)")

    def parallel(self) -> None:
        """Write a block of two branches with a pipe each."""
        outside, names = list(self.known), [self.fresh(), self.fresh()]
        self.add("$parallelblock {")
        for pipe, name in zip("pq", names, strict=True):
            self.known = list(outside)
            self.add("  $seriesblock {")
            value = self.assign(f"{pipe}{self.number}")
            self.assign(self.expression())
            inner = self.assign(f"({value} - {self.operand()})")
            self.add(f"  }} ({inner} => {name}_in)")
        self.known = outside + names
        self.add(f"}} ({names[0]}_in => {names[0]} {names[1]}_in => {names[1]})")

    def text(self) -> str:
        number = self.number
        self.assign(f"p{number}")
        self.body(self.random.randint(3, 7))
        body = "".join(f"{line}\n" for line in self.lines)
        pipes = f"$pipe p{number} q{number} o{number} : $uint<8> $depth 2\n"
        storages = f"$storage r{number} : $array[8] $of $uint<8>\n$storage c{number} : $uint<8>\n"
        count = (
            f"$module [count{number}] $in (by : $uint<8> x : $uint<8>) "
            "$out (n : $uint<8> d : $uint<8>) $is\n"
            "{\n  d := (x - total)\n  total := (total + by)\n  n := total\n}\n"
        )
        return (
            f"{pipes}{storages}{count}$module [m{number}] $in () $out () $is\n{{\n"
            f"  $branchblock [all{number}] {{\n{body}    o{number} := {self.operand()}\n"
            f"    o{number} := q{number}\n  }}\n}}\n"
        )


def module(seed: int, number: int) -> str:
    """Make the module ``m<number>`` of a seed, with all that it alone uses."""
    return _Maker(seed, number).text()
