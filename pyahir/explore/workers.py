"""Who walks the parts of a front: this process, several processes, or a Dask cluster.

In: a ``Job``. Out: ``Front``, the same for every runner. Not here: what a part is (``front``).
"""

from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from pyahir.errors import PlanError, PyahirError
from pyahir.explore.front import Front, Job, Part, Point, best_of, parts, walk
from pyahir.plan.search import Planner

__all__ = ["Runner", "explore", "on_dask", "on_processes", "serial"]

Progress = Callable[[int, int], None]
Runner = Callable[[Job, Sequence[Part]], Iterator[list[Point]]]
CONNECT_SECONDS = 10


def explore(job: Job, runner: Runner | None = None, progress: Progress | None = None) -> Front:
    """Find the front of a graph; raises ``PlanError`` where no plan is within the range."""
    planner = Planner(job.graph, job.foldings)
    cut = parts(planner)
    found: list[Point] = []
    for done, points in enumerate((runner or serial)(job, cut), start=1):
        found += points
        if progress is not None:
            progress(done, len(cut))
    macs = sum(layer.macs for layer in planner.layers)
    front = Front(name=job.graph.name, macs=macs, points=best_of(found))
    if not front.points:
        raise _nothing_between(planner, job)
    return front


def _nothing_between(planner: Planner, job: Job) -> PlanError:
    low, high = job.between.low, job.between.high
    fewest, most = planner.slowest().multipliers, planner.fastest().multipliers
    asked = f"--between {low},{'' if high is None else high}"
    return PlanError(f"{asked}: no plan; the network's plans have {fewest} to {most} multipliers")


def serial(job: Job, cut: Sequence[Part]) -> Iterator[list[Point]]:
    """Walk one part after the other."""
    planner = Planner(job.graph, job.foldings)
    for part in cut:
        yield walk(planner, job.between, part)


_planner: Planner | None = None
_job: Job | None = None


def _start(job: Job) -> None:
    """Keep the job in a worker process: it is sent once, not with every part."""
    global _planner, _job
    _planner, _job = Planner(job.graph, job.foldings), job


def _walk_here(part: Part) -> list[Point]:
    assert _planner is not None
    assert _job is not None
    return walk(_planner, _job.between, part)


def on_processes(count: int) -> Runner:
    """Make a runner of ``count`` processes."""

    def run(job: Job, cut: Sequence[Part]) -> Iterator[list[Point]]:
        # Spawned, not forked: threads of this process may hold locks.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(
            min(count, len(cut)), mp_context=context, initializer=_start, initargs=(job,)
        )
        try:
            # The fast end first: its searches are the longest.
            futures: list[Future[list[Point]]] = [
                pool.submit(_walk_here, part) for part in reversed(cut)
            ]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise PyahirError(
                f"--jobs {count}: a worker process ended early, perhaps for lack of memory; "
                "try fewer"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    return run


def on_dask(address: str) -> Runner:
    """Make a runner on the workers of a Dask scheduler; pyahir must be installed there too."""
    distributed = _distributed(address)

    def run(job: Job, cut: Sequence[Part]) -> Iterator[list[Point]]:
        try:
            client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise PyahirError(
                f"--scheduler {address}: no Dask scheduler answers ({type(error).__name__}); "
                "accepted is what 'dask scheduler' prints, for example tcp://10.0.0.1:8786"
            ) from None
        with client, client.as_current():
            if not client.scheduler_info()["workers"]:
                raise PyahirError(
                    f"--scheduler {address}: the scheduler has no workers; "
                    f"start some with 'dask worker {address}'"
                )
            yield from _gathered(distributed, client, address, job, cut)

    return run


def _gathered(
    distributed: Any, client: Any, address: str, job: Job, cut: Sequence[Part]
) -> Iterator[list[Point]]:
    try:
        held = client.scatter(job, broadcast=True)
        futures = [client.submit(_walk_once, held, part, pure=False) for part in reversed(cut)]
        for future in distributed.as_completed(futures):
            yield future.result()
    except (ImportError, OSError, RuntimeError, CancelledError, distributed.KilledWorker) as error:
        raise PyahirError(
            f"--scheduler {address}: the workers failed: {type(error).__name__}: {error}; "
            "they need the same versions of Python and pyahir as this machine"
        ) from None


def _walk_once(job: Job, part: Part) -> list[Point]:
    return walk(Planner(job.graph, job.foldings), job.between, part)


def _distributed(address: str) -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError:
        raise PyahirError(
            f"--scheduler {address}: Dask is not installed; 'pip install pyahir[dask]' brings it"
        ) from None
