"""Small Aa programs for the simulators, written by hand."""

from __future__ import annotations

PAIR_SUM = """\
// The sum of each word and the one before it, signed.
$pipe x : $int<8> $depth 2
$pipe y : $int<9> $depth 2
$module [pair_sum] $in () $out () $is
{
  $branchblock [blk] {
    $dopipeline $depth 7 $fullrate
      $merge $entry $loopback
      $endmerge
      a := x
      s := (($cast ($int<9>) a) + ($cast ($int<9>) b))
      b := a
      y := s
    $while 1
  }
}
"""

# The first stage sends every word both ways; the second wants eight of one way before any of the
# other, which holds four only.
TWO_WAYS = """\
$pipe p : $uint<8> $depth 2
$pipe near : $uint<8> $depth 4
$pipe far : $uint<8> $depth 16
$pipe o : $uint<8> $depth 2
$module [fork] $in () $out () $is
{
  $branchblock [blk] {
    $dopipeline $depth 7 $fullrate
      $merge $entry $loopback
      $endmerge
      a := p
      near := a
      far := a
    $while 1
  }
}
$module [join] $in () $out () $is
{
  $branchblock [blk] {
    $dopipeline $depth 7 $fullrate
      $merge $entry $loopback
        $phi i := $zero<3> $on $entry n $on $loopback
      $endmerge
      $volatile n := (i + 1)
      $volatile more := (i != 7)
      f := far
    $while more
    $barrier
    $dopipeline $depth 7 $fullrate
      $merge $entry $loopback
      $endmerge
      g := near
      o := g
    $while 1
  }
}
"""

# Counts for ever, without any input.
SOURCE = """\
$pipe o : $uint<8> $depth 2
$module [source] $in () $out () $is
{
  $branchblock [blk] {
    $dopipeline $depth 7 $fullrate
      $merge $entry $loopback
        $phi i := $zero<8> $on $entry n $on $loopback
      $endmerge
      $volatile n := (i + 1)
      o := i
    $while 1
  }
}
"""
