"""Runs passes in order, verifies after each, and names the sequences that the compiler uses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pyahir.errors import OutputError
from pyahir.ir.graph import Graph, Stage
from pyahir.ir.printer import to_text
from pyahir.ir.verify import verify
from pyahir.passes.base import Pass
from pyahir.passes.eliminate_dead import EliminateDead
from pyahir.passes.eliminate_exceptions import EliminateExceptions
from pyahir.passes.eliminate_identity import EliminateIdentity
from pyahir.passes.fold_batch_norm import FoldBatchNorm

__all__ = ["LINEAR_ROUNDING", "SIMPLIFY", "Pipeline"]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Passes in the order in which they run."""

    passes: tuple[Pass, ...]

    def run(self, graph: Graph, *, dump_dir: Path | None = None) -> Graph:
        """Run every pass and verify its result.

        With ``dump_dir`` the graph is written before the first pass and after each, as text that
        ``ir.parser`` reads: ``00-input.ir``, ``01-fold_batch_norm.ir``, ...
        """
        verify(graph, after="import")
        _dump(graph, dump_dir, 0, "input")
        for number, item in enumerate(self.passes, start=1):
            _expect(item, "takes", item.requires, graph.stage)
            graph = verify(item.run(graph), after=item.name)
            _expect(item, "gives", item.ensures, graph.stage)
            _dump(graph, dump_dir, number, item.name)
        return graph


def _expect(item: Pass, verb: str, wanted: Stage | None, stage: Stage) -> None:
    assert wanted in (None, stage), f"{item.name} {verb} a {wanted} graph, not a {stage} one"


def _dump(graph: Graph, dump_dir: Path | None, number: int, name: str) -> None:
    if dump_dir is None:
        return
    try:
        dump_dir.mkdir(parents=True, exist_ok=True)
        (dump_dir / f"{number:02}-{name}.ir").write_text(to_text(graph), encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"{dump_dir}: cannot write the graphs there: {error.strerror}; name a folder that can "
            "be written"
        ) from None


SIMPLIFY: tuple[Pass, ...] = (FoldBatchNorm(), EliminateIdentity(), EliminateDead())
LINEAR_ROUNDING: tuple[Pass, ...] = (EliminateExceptions(),)
