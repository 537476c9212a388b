"""The pictures of a report, each a function from ``Report`` to SVG text for use inside a page."""

from __future__ import annotations

from pyahir.report.pictures.bars import MOST_PIPES, fill_picture, pace_picture, quality_picture
from pyahir.report.pictures.dataflow import dataflow_picture
from pyahir.report.pictures.when import timeline_picture

__all__ = [
    "MOST_PIPES",
    "dataflow_picture",
    "fill_picture",
    "pace_picture",
    "quality_picture",
    "timeline_picture",
]
