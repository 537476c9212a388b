"""The front against the planner itself, however the work is shared; files made of it."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pyahir.errors import OutputError, PlanError, PyahirError
from pyahir.explore import Front, Job, Point, Range, best_of, explore, on_processes, parts, spread
from pyahir.explore.export import draw, write_front
from pyahir.explore.workers import on_dask
from pyahir.ir.graph import Graph
from pyahir.ir.ops import Conv2d
from pyahir.plan.cost import memory_bits
from pyahir.plan.file import read_plan
from pyahir.plan.folding import Folding
from pyahir.plan.search import Options, Planner, make_plan
from tests.networks import Chain, lenet, small

GRAPH = small().graph()


@pytest.fixture(scope="module")
def front() -> Front:
    return explore(Job(graph=GRAPH))


def point(cycles: int, multipliers: int, memory: int) -> Point:
    return Point(
        multipliers=multipliers,
        cycles=cycles,
        adders=0,
        requantizers=0,
        memory_bits=memory,
        ram_blocks=0,
        foldings={},
    )


@pytest.mark.parametrize(
    "graph", [GRAPH, pytest.param(lenet().graph(), marks=pytest.mark.slow)], ids=["small", "lenet"]
)
def test_every_plan_of_the_planners_own_front_is_there(graph: Graph) -> None:
    found = explore(Job(graph=graph))
    own = {(plan.multipliers, plan.cycles_per_frame) for plan in Planner(graph).front()}
    assert own == {
        (item.multipliers, item.cycles)
        for item in found.points
        if found.best_in(item) in ("both", "multipliers")
    }


def test_no_number_of_cycles_is_passed_over() -> None:
    """A chain whose plans need 7, 6, 5, 4, 3, 2 and 1 cycles at its fast end."""
    chain = Chain((1, 1, 13))
    chain.conv(2, Conv2d(kernel_size=(1, 1)))
    planner = Planner(chain.graph())
    found = [planner.within_cycles(limit) for limit in range(1, 27)]
    every = {(plan.cycles_per_frame, plan.multipliers) for plan in found if plan is not None}
    points = explore(Job(graph=chain.graph())).points
    fastest = {(item.cycles, item.multipliers) for item in points if item.cycles <= 7}
    assert fastest == {pair for pair in every if pair[0] <= 7}
    assert [cycles for cycles, _ in sorted(fastest)] == [1, 2, 3, 4, 5, 6, 7]


def test_figures_are_those_of_the_plan(front: Front) -> None:
    for item in front.points:
        plan = make_plan(GRAPH, Options(foldings=item.foldings))
        assert plan.multipliers == item.multipliers
        assert plan.cycles_per_frame == item.cycles
        assert memory_bits(plan) == item.memory_bits
        assert front.utilization(item) * front.bound_distance(item) == pytest.approx(1)


def test_no_point_is_beaten(front: Front) -> None:
    goals = [item.goals for item in front.points]
    assert not [
        (left, right)
        for left in goals
        for right in goals
        if left != right and all(a <= b for a, b in zip(left, right, strict=True))
    ]


def test_dominated_points_are_dropped_and_the_rest_told_apart() -> None:
    fast, small_memory, both = point(10, 9, 50), point(12, 9, 20), point(20, 4, 10)
    middle, beaten = point(14, 8, 30), point(21, 4, 10)
    kept = best_of([beaten, both, middle, small_memory, fast, fast])
    assert kept == (both, middle, fast, small_memory)
    found = Front(name="net", macs=80, points=kept)
    assert [found.best_in(item) for item in kept] == ["both", "multipliers", "both", "memory"]
    assert found.bound_distance(fast) == 90 / 80


def test_a_point_may_be_unbeaten_in_all_three_only() -> None:
    points = (point(10, 5, 50), point(10, 9, 10), point(10, 7, 30))
    found = Front(name="net", macs=1, points=points)
    assert [found.best_in(item) for item in points] == ["multipliers", "memory", "together"]


def test_parts_cover_all_cycles_once() -> None:
    planner = Planner(GRAPH)
    cut = parts(planner)
    assert cut[0].most == planner.slowest().cycles_per_frame
    assert cut[-1].above == 0
    assert all(left.above == right.most for left, right in pairwise(cut))


@pytest.mark.parametrize("between", [Range(7, 20), Range(50, 50), Range(0, 2), Range(3, None)])
def test_a_range_of_multipliers_takes_the_points_in_it(front: Front, between: Range) -> None:
    wanted = [
        item
        for item in front.points
        if between.low <= item.multipliers and not between.above(item.multipliers)
    ]
    assert wanted
    assert list(explore(Job(graph=GRAPH, between=between)).points) == wanted


def test_every_point_is_found_in_a_range_of_its_own(front: Front) -> None:
    for item in front.points:
        alone = Range(item.multipliers, item.multipliers)
        assert item in explore(Job(graph=GRAPH, between=alone)).points


def test_a_range_without_plans_says_what_there_is() -> None:
    with pytest.raises(PlanError) as caught:
        explore(Job(graph=GRAPH, between=Range(900, 901)))
    assert str(caught.value) == (
        "--between 900,901: no plan; the network's plans have 2 to 50 multipliers"
    )


def test_fixed_foldings_are_kept() -> None:
    fixed = {"fc4": Folding(pe=1, simd=3)}
    found = explore(Job(graph=GRAPH, foldings=fixed))
    sizes = {(item.foldings["fc4"].pe, item.foldings["fc4"].simd) for item in found.points}
    assert sizes == {(1, 3)}
    assert len(found.points) > 1


@pytest.mark.parametrize("most", [2, 3, 7, 1000])
def test_spread_keeps_both_ends_and_is_even(front: Front, most: int) -> None:
    chosen = spread(front.points, most)
    assert len(chosen) == min(most, len(front.points))
    assert chosen == sorted(set(chosen))
    assert (chosen[0], chosen[-1]) == (0, len(front.points) - 1)


def test_spread_takes_even_steps_of_a_factor() -> None:
    points = [point(1, multipliers, 1) for multipliers in (1, 2, 4, 5, 6, 7, 16)]
    assert spread(points, 3) == [0, 2, 6]


def test_progress_tells_every_part() -> None:
    seen: list[tuple[int, int]] = []
    explore(Job(graph=GRAPH), progress=lambda done, total: seen.append((done, total)))
    count = len(parts(Planner(GRAPH)))
    assert seen == [(done, count) for done in range(1, count + 1)]


def test_two_processes_give_the_same(front: Front) -> None:
    assert explore(Job(graph=GRAPH), on_processes(2)) == front


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as found:
        yield found


def test_a_dask_cluster_gives_the_same(front: Front, cluster: Any) -> None:
    assert explore(Job(graph=GRAPH), on_dask(cluster.scheduler_address)) == front


def test_a_cluster_without_workers_is_refused() -> None:
    from distributed import LocalCluster

    empty: Any = LocalCluster(n_workers=0, processes=False, dashboard_address=":0")
    with empty:
        address = empty.scheduler_address
        with pytest.raises(PyahirError) as caught:
            explore(Job(graph=GRAPH), on_dask(address))
    assert str(caught.value) == (
        f"--scheduler {address}: the scheduler has no workers; "
        f"start some with 'dask worker {address}'"
    )


def test_a_worker_that_lacks_a_package_is_one_message(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = cluster.scheduler_address
    monkeypatch.setattr("pyahir.explore.workers._walk_once", _break)
    with pytest.raises(PyahirError) as caught:
        explore(Job(graph=GRAPH), on_dask(address))
    assert str(caught.value) == (
        f"--scheduler {address}: the workers failed: ModuleNotFoundError: No module named "
        "'pyahir_missing'; they need the same versions of Python and pyahir as this machine"
    )


def _break(job: Job, part: object) -> list[Point]:
    """Stand for a worker on which pyahir cannot be imported."""
    raise ModuleNotFoundError("No module named 'pyahir_missing'")


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyahir.explore.workers.CONNECT_SECONDS", 1)
    with pytest.raises(PyahirError) as caught:
        explore(Job(graph=GRAPH), on_dask("tcp://127.0.0.1:9"))
    assert str(caught.value) == (
        "--scheduler tcp://127.0.0.1:9: no Dask scheduler answers (OSError); "
        "accepted is what 'dask scheduler' prints, for example tcp://10.0.0.1:8786"
    )


def test_without_dask_one_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(PyahirError) as caught:
        on_dask("tcp://10.0.0.1:8786")
    assert str(caught.value) == (
        "--scheduler tcp://10.0.0.1:8786: Dask is not installed; "
        "'pip install pyahir[dask]' brings it"
    )


def test_json_holds_plan_files(front: Front, tmp_path: Path) -> None:
    write_front(front, tmp_path / "front.json", 1e8)
    content = json.loads((tmp_path / "front.json").read_text())
    assert content["macs"] == front.macs
    assert [row["number"] for row in content["plans"]] == list(range(1, len(front.points) + 1))
    for item, row in zip(front.points, content["plans"], strict=True):
        (tmp_path / "one.plan.json").write_text(json.dumps(row))
        assert read_plan(tmp_path / "one.plan.json") == item.foldings
        assert row["frames_per_second"] == 1e8 / item.cycles


def test_csv_has_one_row_a_plan(front: Front, tmp_path: Path) -> None:
    write_front(front, tmp_path / "front.csv", None)
    with (tmp_path / "front.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["multipliers"], row["cycles"]) for row in rows] == [
        (str(item.multipliers), str(item.cycles)) for item in front.points
    ]
    assert {row["frames_per_second"] for row in rows} == {""}


@pytest.mark.parametrize(("name", "start"), [("a.svg", b"<?xml"), ("a.png", b"\x89PNG")])
def test_a_picture_is_the_same_every_time(
    front: Front, tmp_path: Path, name: str, start: bytes
) -> None:
    contents: list[bytes] = []
    for _ in range(2):
        write_front(front, tmp_path / name, None)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0].startswith(start)
    assert contents[0] == contents[1]


def test_a_picture_shows_every_plan_and_the_bound(front: Front) -> None:
    axes = draw(front).axes[0]
    (dots,), (bound,) = axes.collections, axes.lines
    assert dots.get_offsets().tolist() == [[item.multipliers, item.cycles] for item in front.points]
    assert dots.get_array().tolist() == [item.memory_bits / 1000 for item in front.points]
    assert list(bound.get_ydata()) == [front.macs / item.multipliers for item in front.points]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "front.aa",
            "{}: a front is written as .svg, .png, .json, .csv; "
            "to write a design, say which plan with --compile NUMBER",
        ),
        ("none/front.csv", "{}: cannot write: the folder {folder} does not exist"),
    ],
)
def test_a_file_that_cannot_be_written(
    front: Front, tmp_path: Path, name: str, message: str
) -> None:
    path = tmp_path / name
    with pytest.raises(OutputError) as caught:
        write_front(front, path, None)
    assert str(caught.value) == message.format(path, folder=path.parent)
