"""The page: complete, well-formed, alone, and nothing in it is taken for markup."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pyahir.report.build import build_report
from pyahir.report.model import AccuracyRow, Quality, QualityRow, Report
from pyahir.report.page import texts
from pyahir.sim.engine import GhdlEngine
from tests.designs import written
from tests.networks import small
from tests.report.runs import made_up_run

VOID = {"meta", "br", "hr", "img", "link", "input"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> GhdlEngine:
    _, path = written(small().graph(), tmp_path_factory.mktemp("design"))
    return GhdlEngine.open(path)


@pytest.fixture(scope="module")
def planned(engine: GhdlEngine) -> Report:
    return build_report(engine.files.manifest, engine.program)


@pytest.fixture(scope="module")
def full(engine: GhdlEngine) -> Report:
    """A report with every section: figures of the run are made up, the design is real."""
    quality = Quality(
        images=2,
        source="images of a test",
        rows=(
            QualityRow(layer="x", sqnr=None, rounding=None),
            QualityRow(layer="conv1", sqnr=40.0, rounding=45.0),
            QualityRow(layer="fc4", sqnr=31.5, rounding=42.0),
        ),
        accuracy=(
            AccuracyRow(model="torch (float)", correct=9, images=10),
            AccuracyRow(model="pyahir", correct=8, images=10),
        ),
    )
    run = made_up_run(engine)
    return build_report(engine.files.manifest, engine.program, run=run, quality=quality)


class Page(HTMLParser):
    """Checks that elements close in order; keeps what they say and refer to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.heads: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self.open and self.open[-1] == "th":
            self.heads.append(data)


def pictures(html: str) -> list[ElementTree.Element]:
    """Parse each picture as XML of its own."""
    return [ElementTree.fromstring(text) for text in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]


@pytest.mark.parametrize("kind", ["planned", "full"])
def test_the_page_is_well_formed_and_alone(kind: str, request: pytest.FixtureRequest) -> None:
    html = texts(request.getfixturevalue(kind))["index.html"]
    page = Page(html)
    loads = [item for item in page.attributes if item[1] in ("src", "href", "xlink:href", "data")]
    assert loads
    assert all(value.startswith("#") for _, _, value in loads)
    assert not {tag for tag, _, _ in page.attributes} & {"script", "link", "img", "iframe"}
    assert all(target == "#" for target in re.findall(r"url\(\s*[\"']?(.)", html))
    assert "@import" not in html
    ids = Counter(value for _, name, value in page.attributes if name == "id")
    assert max(ids.values()) == 1
    assert {value[1:] for _, _, value in loads} <= ids.keys()


def test_every_layer_and_pipe_is_in_the_tables_and_pictures(full: Report) -> None:
    found = texts(full)
    heads = Counter(Page(found["index.html"]).heads)
    labels = {"".join(item.itertext()).strip() for item in pictures(found["index.html"])[0].iter()}
    for layer in full.layers:
        assert heads[layer.name] >= 2  # figures and memory
        assert layer.name in labels
    for pipe in full.pipes:
        assert heads[pipe.name] == 1
        assert f"| {pipe.name.replace('_', chr(92) + '_')} |" in found["report.md"]
    assert len(pictures(found["index.html"])) == 5


def test_pictures_follow_the_colours_of_the_page(full: Report) -> None:
    html = texts(full)["index.html"]
    style = html[: html.index("</style>")]
    used = set(re.findall(r"var\(--([a-z-]+), #", html))
    assert {"ink", "soft", "first", "second", "busy"} <= used
    for name in used:
        assert style.count(f"--{name}:") == 2, name  # light and dark
    drawn = "".join(re.findall(r"<svg.*?</svg>", html, re.DOTALL))
    assert not re.findall(r"(?:fill|stroke): #", drawn)


def test_a_section_says_how_to_get_what_is_missing(planned: Report) -> None:
    found = texts(planned)
    page = "".join(Page(found["index.html"]).words)
    assert "Not simulated (--no-simulation)" in page
    assert "--model QUANTIZED.pt --float FLOAT.pt2 --input IMAGES.npz" in page
    assert len(pictures(found["index.html"])) == 2
    assert "Not simulated" in found["report.md"]
    data = json.loads(found["report.json"])
    assert data["simulated"] is data["timeline"] is data["quality"] is None


def test_names_are_text_not_markup(full: Report) -> None:
    evil = "<b>&amp;|`x`"

    def named(name: str | None) -> str | None:
        return evil if name == "conv1" else name

    timeline = full.timeline
    assert timeline is not None
    changed = replace(
        full,
        name=evil,
        layers=tuple(replace(row, name=named(row.name) or "") for row in full.layers),
        pipes=tuple(replace(row, layer=named(row.layer)) for row in full.pipes),
        processes=tuple(replace(row, layer=named(row.layer) or "") for row in full.processes),
        loops=tuple(replace(row, reason="1 < 2 & 3", interval=2) for row in full.loops),
        timeline=replace(
            timeline,
            spans=tuple(replace(row, layer=named(row.layer) or "") for row in timeline.spans),
            activity={named(name) or "": row for name, row in timeline.activity.items()},
        ),
    )
    found = texts(changed)
    page = Page(found["index.html"])
    assert "b" not in {tag for tag, _, _ in page.attributes} | set(page.open)
    assert "<b>" not in found["index.html"]
    assert evil in page.heads
    assert "1 < 2 & 3" in page.words
    assert evil in {"".join(item.itertext()) for item in pictures(found["index.html"])[0].iter()}
    assert r"\<b\>\&amp;\|\`x\`" in found["report.md"]
    assert "<b>" not in found["report.md"]
    assert json.loads(found["report.json"])["name"] == evil


def test_equal_reports_give_equal_texts(full: Report) -> None:
    assert texts(full) == texts(full)


def test_json_has_the_figures_of_the_manifest(engine: GhdlEngine, planned: Report) -> None:
    data = json.loads(texts(planned)["report.json"])
    manifest = engine.files.manifest
    keys = ["name", "kind", "source", "macs", "multipliers", "adders", "requantizers", "cycles"]
    keys += [f"{what}_bits" for what in ("weight", "parameter", "line", "pipe", "memory")]
    keys += ["ram_blocks"]
    assert [[row[key] for key in keys] for row in data["layers"]] == [
        [row[key] for key in keys] for row in manifest["layers"]
    ]
    frame = manifest["totals"]["cycles_per_frame"]
    for row in data["layers"]:
        assert row["busy"] == row["cycles"] / frame
        if row["multipliers"]:
            assert row["utilization"] == row["macs"] / (row["multipliers"] * frame)
        else:
            assert row["utilization"] is None
    assert data["totals"].items() >= manifest["totals"].items()
    assert data["hashes"] == manifest["hashes"]
    pipes = {row["name"]: (row["layer"], row["width"], row["depth"]) for row in data["pipes"]}
    for row in manifest["pipes"]:
        assert pipes[row["name"]] == (row["layer"], row["width"], row["depth"])
    assert pipes["weights_in"] == (None, 64, 2)


def test_a_manifest_without_figures_is_refused(engine: GhdlEngine, tmp_path: Path) -> None:
    from pyahir.errors import DataError

    layers = [{k: v for k, v in row.items() if k != "adders"} for row in engine.layers]
    with pytest.raises(
        DataError, match=r"^the manifest has no valid layers \(KeyError: 'adders'\): compile again$"
    ):
        build_report({**engine.files.manifest, "layers": layers}, engine.program)
