"""The golden model in several processes: each works on a part of the batch.

In: a graph, codes, the value that is wanted. Out: its values, those that one process would give.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import numpy as np

from pyahir.errors import PyahirError
from pyahir.ir.eval.evaluator import Evaluator
from pyahir.ir.graph import Graph
from pyahir.ir.types import Array

__all__ = ["evaluate_batch"]

PART = 256  # images that a process takes at a time
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Progress = Callable[[int, int], None]
_evaluator: Evaluator | None = None


def evaluate_batch(
    graph: Graph, codes: Array, name: str, *, jobs: int = 1, progress: Progress | None = None
) -> Array:
    """Give the values of ``name`` for all frames of ``codes``, in ``jobs`` processes.

    Raises ``PyahirError`` where a process ends early.
    """
    parts = [codes[start : start + PART] for start in range(0, len(codes), PART)]
    found: list[Array] = []
    for values in _values(graph, parts, name, jobs):
        found.append(values)
        if progress is not None:
            progress(sum(map(len, found)), len(codes))
    return np.concatenate(found)


def _values(graph: Graph, parts: list[Array], name: str, jobs: int) -> Iterator[Array]:
    if jobs == 1:
        evaluator = Evaluator(graph)
        for part in parts:
            yield evaluator.run(part, keep=[name])[name]
        return
    context = multiprocessing.get_context("spawn")  # threads of this process may hold locks
    workers = min(jobs, len(parts))
    with (
        _one_thread(),
        ProcessPoolExecutor(
            workers, mp_context=context, initializer=_start, initargs=(graph,)
        ) as pool,
    ):
        futures: list[Future[Array]] = [pool.submit(_run, part, name) for part in parts]
        try:
            for future in futures:
                yield future.result()
        except BrokenProcessPool:
            raise PyahirError(
                f"--jobs {jobs}: a worker process ended early, perhaps for lack of memory; "
                "try fewer"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _one_thread() -> Generator[None]:
    """Let the processes that are started take one thread each: there are several of them."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start(graph: Graph) -> None:
    """Keep the golden model in a worker process: the graph is sent once, not with every part."""
    global _evaluator
    _evaluator = Evaluator(graph)


def _run(part: Array, name: str) -> Array:
    assert _evaluator is not None
    return _evaluator.run(part, keep=[name])[name]
