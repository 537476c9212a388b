"""Joins the state machines that use one side of a pipe, a storage or a called module.

In: the links, those that come first first. Out: VHDL lines that lead them to one set of signals.
The order of priority is fixed and the same everywhere: modules in the order of the text, in each
its own state machine before those of its parallel blocks. So whoever comes first among those that
wait gets all that it waits for, and nobody waits for a turn in a circle.
"""

from __future__ import annotations

from pyahir.backends.vhdl.items import Port, Shape, Side, link_ports

__all__ = ["joined"]


def joined(shape: Shape, side: Side, users: list[str]) -> tuple[list[tuple[str, Port]], list[str]]:
    """Give the signals of all users, and the lines that join them to those of the item."""
    signals: list[tuple[str, Port]] = []
    lines: list[str] = []
    strobe = _strobe(shape, side)
    for port in link_ports(shape, side, contested=True):
        names = [f"{user}_{port.suffix}" for user in users]
        signals += [(name, port) for name in names]
        whole = f"{shape.name}_{port.suffix}"
        if port.suffix.endswith("_granted"):
            lines += _grants(users, side)
        elif port.suffix.endswith("_request"):
            continue
        elif not port.out:
            lines += [f"{name} <= {whole};" for name in names]
        elif port.width is None:
            lines.append(f"{whole} <= {' or '.join(names)};")
        else:
            choices = [f"{user}_{port.suffix} when {user}_{strobe} = '1' else" for user in users]
            choices[-1] = names[-1]
            lines.append(f"{whole} <= {' '.join(choices)};")
    return signals, lines


def _strobe(shape: Shape, side: Side) -> str:
    for port in link_ports(shape, side, contested=False):
        if port.out and port.width is None:
            return port.suffix
    raise AssertionError("each contested side has a strobe")


def _grants(users: list[str], side: Side) -> list[str]:
    lines: list[str] = []
    for number, user in enumerate(users):
        before = [f"{other}_{side.value}_request" for other in users[:number]]
        test = f"not ({' or '.join(before)})" if before else "'1'"
        lines.append(f"{user}_{side.value}_granted <= {test};")
    return lines
