"""A design's figures and pictures on one page: HTML, Markdown and JSON.

In: the manifest and the program of a design, a simulation of it, and what the models computed.
Out: ``Report`` and its three texts. Steps, in order: ``flow`` (who reads and writes which pipe),
``figures`` (the plan), ``measure`` (the simulation), ``quality`` (the error of quantization),
``advice`` (sentences), ``pictures`` and ``page``. Not here: running anything (``commands.report``).
"""

from __future__ import annotations
