"""Aa text to AST.

In: a text and the name under which the user knows it. Out: a ``Program`` whose nodes know their
line and column, or an ``AaError`` with position, source line and caret. The grammar is
``aa.lark``; ``mistakes.aa`` holds the texts by which common mistakes are recognized.
Not here: names, types and the traps of the tools (``verify``). Comments are dropped.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lark import Lark, UnexpectedCharacters, UnexpectedToken

from pyahir.backends.aa.printer import KEYWORD_MARK
from pyahir.backends.aa.syntax_tree import Builder
from pyahir.errors import AaError

if TYPE_CHECKING:
    from lark.lexer import Token
    from lark.tree import Tree

    from pyahir.backends.aa import ast as aa

__all__ = ["parse"]

_HERE = Path(__file__).parent
_WORD_AFTER = re.compile(r"_[A-Za-z0-9_.]*")
_WORD_BEFORE = re.compile(r"_[A-Za-z0-9_.]*\Z")
_KEYWORD = re.compile(re.escape(KEYWORD_MARK) + r"[A-Za-z0-9_]*")
_COMMENT = re.compile(r"//[^\n]*")
_END = f"{KEYWORD_MARK}END"
_LITERAL = re.compile(r"_(b[01]+|h[0-9A-Fa-f]+)")


def parse(text: str, file: str = "<text>") -> aa.Program:
    """Parse a whole program."""
    try:
        tree = _tree(text)
    except UnexpectedCharacters as error:
        position = cast("int", error.pos_in_stream)
        message = _bad_character(text, position)
        raise _error(text, file, position, message) from None
    except UnexpectedToken as error:
        token = cast("Token", error.token)
        position = len(text) if token.type == _END else (token.start_pos or 0)
        unknown = _unknown_keyword(text, position)
        if unknown is not None:
            message = f"unknown keyword '{unknown.group()}'"
            raise _error(text, file, unknown.start(), message) from None
        message = _bad_text(text, position) or _bad_token(error, token)
        raise _error(text, file, position, message) from None
    return Builder(file).program(tree)


@cache
def _grammar() -> Lark:
    return Lark(
        (_HERE / "aa.lark").read_text(encoding="utf-8"),
        parser="lalr",
        lexer="basic",
        propagate_positions=True,
        maybe_placeholders=True,
    )


def _tree(text: str) -> Tree[Token]:
    # lark leaves the parameter of ``parse`` partly untyped.
    return _grammar().parse(text)  # pyright: ignore[reportUnknownMemberType]


@cache
def _mistakes() -> dict[tuple[object, str], str]:
    """Map the parser state and token type at which each known mistake fails to its message."""
    found: dict[tuple[object, str], str] = {}
    _, *paragraphs = (_HERE / "mistakes.aa").read_text(encoding="utf-8").split("\n\n")
    for paragraph in paragraphs:
        comment, example = paragraph.strip().split("\n", 1)
        try:
            _tree(example)
        except UnexpectedToken as error:
            found.setdefault(_key(error), comment.removeprefix("// "))
            continue
        raise AssertionError(f"not a mistake: {example}")
    return found


def _key(error: UnexpectedToken) -> tuple[object, str]:
    token = cast("Token", error.token)
    return (getattr(error.state, "position", None), token.type)


def _error(text: str, file: str, position: int, message: str) -> AaError:
    line = text.count("\n", 0, position) + 1
    start = text.rfind("\n", 0, position) + 1
    source = text[start:].split("\n", 1)[0].replace("\t", " ")
    column = position - start + 1
    caret = " " * (column - 1) + "^"
    return AaError(f"{file}:{line}:{column}: {message}\n  {source}\n  {caret}")


def _unknown_keyword(text: str, position: int) -> re.Match[str] | None:
    """Find a keyword that was read as a shorter one and a name, up to the position."""
    known = _terminal_texts().values()
    code = _COMMENT.sub(lambda comment: " " * len(comment.group()), text)
    for keyword in _KEYWORD.finditer(code):
        if keyword.start() > position:
            return None
        if f"'{keyword.group()}'" not in known:
            return keyword
    return None


def _bad_text(text: str, position: int) -> str | None:
    """Name mistakes that the tokens before or at the position show by themselves."""
    if text.startswith("//", position):
        return "a comment on the last line needs a newline at its end"
    word = _WORD_AFTER.match(text, position)
    if word and not _LITERAL.fullmatch(word.group()) and not word.group().startswith("_f"):
        return f"identifier '{word.group()}' begins with '_'"
    before = text[max(0, position - 80) : position]
    if (start := _WORD_BEFORE.search(before)) and _adjacent(text, position):
        rest = re.match(r"[A-Za-z0-9_.]*", text[position:])
        assert rest is not None
        if re.fullmatch(r"(|.*[^A-Za-z0-9_.])", before[: start.start()], re.DOTALL):
            return f"identifier '{start.group()}{rest.group()}' begins with '_'"
    return None


def _adjacent(text: str, position: int) -> bool:
    return bool(re.match(r"[A-Za-z0-9_]", text[position : position + 1]))


def _bad_character(text: str, position: int) -> str:
    found = text[position]
    if found == "_":
        word = _WORD_AFTER.match(text, position)
        assert word is not None
        if word.group().startswith("_f"):
            return "a float literal is one digit, a point, digits, e, a sign, digits: _f1.5e+0"
        return f"identifier '{word.group()}' begins with '_'"
    if found == KEYWORD_MARK and (keyword := _KEYWORD.match(text, position)):
        return f"unknown keyword '{keyword.group()}'"
    if found == ";":
        return "there is no statement separator: remove ';'"
    if found == "=":
        return "an assignment needs ':='"
    return f"unexpected character {found!r}"


def _bad_token(error: UnexpectedToken, token: Token) -> str:
    known = _mistakes().get(_key(error))
    if known is not None:
        return known
    found = "end of text" if token.type == _END else f"'{token}'"
    expected = sorted(_terminal_text(name) for name in error.expected)
    if len(expected) > 8:
        return f"unexpected {found}"
    return f"unexpected {found}; expected {' or '.join(expected)}"


@cache
def _terminal_texts() -> dict[str, str]:
    texts = {term.name: f"'{term.pattern.value}'" for term in _grammar().terminals}
    words = {"NAME": "a name", "UINT": "a number", _END: "the end of the text"}
    return texts | words | {"C_HEX": "a '0x' number", "BINARY": "a '_b' number"}


def _terminal_text(name: str) -> str:
    return _terminal_texts().get(name, name).replace("\\", "")
