"""A report as text: the HTML page, the same in Markdown, the figures in JSON.

In: a ``Report``. Out: three texts, functions of the report alone. The page needs no other file, no
network and no script. Names come from a user's model: every text is escaped, SVG is our own.
"""

from __future__ import annotations

import json
import re

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pyahir.report.model import Report
from pyahir.report.sections import facts, origin, sections, subtitle

__all__ = ["FILES", "texts"]

FILES = ("index.html", "report.md", "report.json")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#&])")


def texts(report: Report) -> dict[str, str]:
    """Give the contents of the files, by name."""
    pages = Environment(
        loader=PackageLoader("pyahir.report"),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    pages.filters.update(md=_markdown)  # pyright: ignore[reportUnknownMemberType]
    values = {
        "report": report,
        "subtitle": subtitle(report),
        "facts": facts(report),
        "sections": sections(report),
        "origin": origin(report),
    }
    found = {name: pages.get_template(template).render(values) for name, template in _TEMPLATES}
    found["report.json"] = json.dumps(report.json(), indent=2, sort_keys=True) + "\n"
    return found


_TEMPLATES = (("index.html", "page.html"), ("report.md", "report.md"))


def _markdown(text: str | Markup) -> str:
    """Write text so that Markdown shows it as it is."""
    return _MARKDOWN.sub(r"\\\1", str(text)).replace("\n", " ")
