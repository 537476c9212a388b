"""The border of a program as the command line sees it: which file belongs to which pipe.

In: a path of Aa text and texts such as ``PIPE=FILE``. Out: words of input pipes, golden words,
counts, contents of output files. A network's design brings its weights and knows its images.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyahir.backends.aa import ast as aa
from pyahir.backends.aa.feed import feed
from pyahir.backends.aa.files import DesignFiles, read_design
from pyahir.errors import DataError, OutputError, PyahirError
from pyahir.ir.types import Array
from pyahir.runner import is_design
from pyahir.sim import design
from pyahir.sim.run import SimulationResult, border_ports, load_program
from pyahir.sim.testbench import UNDEFINED
from pyahir.sim.words import (
    SUFFIXES,
    Word,
    array_file,
    read_array,
    read_words,
    word_types,
    words_file,
)

__all__ = ["Border"]

_NAMED = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
WEIGHTS = "weights_in"


@dataclass(frozen=True, slots=True)
class Border:
    """A program, its pipes at the border, and its manifest when it is a network's design."""

    program: aa.Program
    inputs: Mapping[str, Word]
    outputs: Mapping[str, Word]
    files: DesignFiles | None

    @classmethod
    def open(cls, path: Path) -> Border:
        """Read a program; a manifest beside it tells that it is a network's design."""
        program = load_program(path)
        words = word_types(program)
        ports = border_ports(program, {}, {})
        return cls(
            program=program,
            inputs={port.name: words[port.name] for port in ports if not port.output},
            outputs={port.name: words[port.name] for port in ports if port.output},
            files=read_design(path) if is_design(path) else None,
        )

    def input_words(self, texts: Sequence[str]) -> dict[str, Sequence[int]]:
        """Read the words of the input pipes; those of the weights come by themselves."""
        named: dict[str, Path] = {}
        bare: list[Path] = []
        for text in texts:
            match = _NAMED.fullmatch(text)
            if match is None:
                bare.append(Path(text))
                continue
            name = self._pipe("--input", match[1], self.inputs)
            if name in named:
                raise PyahirError(f"--input: two files for pipe '{name}'; accepted: one")
            named[name] = Path(match[2])
        left = [name for name in self.inputs if name not in named]
        own = self.files is not None and len(self.files.words) > 0 and WEIGHTS in left
        if own:
            left.remove(WEIGHTS)
        if len(bare) > 1 or (bare and len(left) != 1):
            raise PyahirError(
                f"--input {bare[0]}: which pipe? accepted: PIPE=FILE with PIPE one of "
                f"{', '.join(left) or 'none'}"
            )
        if bare:
            named[left[0]] = bare[0]
        if left and not named:
            raise PyahirError(
                f"no words for the input pipes {', '.join(left)}; give them with "
                f"--input {left[0]}=FILE"
            )
        words: dict[str, Sequence[int]] = {
            name: self._read(name, path) for name, path in named.items()
        }
        return {WEIGHTS: self._weights(words), **words} if own else words

    def _weights(self, words: Mapping[str, Sequence[int]]) -> list[int]:
        """Give the weights, those that come with every frame as often as there are frames."""
        assert self.files is not None
        source = self.files.manifest["input"]
        frames = -(-len(words.get(source["pipe"], ())) // design.frame_words(source))
        return feed(self.files.manifest, self.files.words, frames).tolist()

    def _pipe(self, option: str, name: str, accepted: Mapping[str, Word]) -> str:
        if name not in accepted:
            what = "n input" if accepted is self.inputs else "n output"
            listed = ", ".join(accepted) or "none"
            raise PyahirError(f"{option} {name}: not a{what} pipe; accepted: {listed}")
        return name

    def _stream(self, pipe: str) -> Mapping[str, object] | None:
        """Find what the manifest says of a pipe at the border."""
        if self.files is None:
            return None
        streams = (self.files.manifest["input"], self.files.manifest["output"])
        return next((row for row in streams if row["pipe"] == pipe), None)

    def _read(self, pipe: str, path: Path) -> list[int]:
        """Read words; of a network's stream also images or codes, which have a channel axis."""
        row = self._stream(pipe)
        if row is not None and path.suffix == ".npy":
            array = read_array(path)
            if array.ndim > 1:
                return self._pack(pipe, row, array, path)
        word = self.inputs.get(pipe) or self.outputs[pipe]
        return read_words(path, word)

    def _pack(self, pipe: str, row: Mapping[str, object], array: Array, path: Path) -> list[int]:
        assert self.files is not None
        if pipe in self.inputs:
            return design.words_of_codes(row, design.image_codes(self.files.manifest, array, path))
        return design.words_of_codes(row, design.output_codes(row, array, path))

    def golden_words(self, texts: Sequence[str]) -> dict[str, Sequence[int]]:
        """Read the golden words of output pipes."""
        return {
            name: self._read(name, path) for name, path in self._output_files("--golden", texts)
        }

    def targets(self, texts: Sequence[str]) -> list[tuple[str, Path]]:
        """Say which file to write of which output pipe; what cannot be written is refused now."""
        found = self._output_files("--output", texts)
        for _, path in found:
            if path.suffix not in SUFFIXES:
                raise OutputError(
                    f"{path}: no kind of words ends in '{path.suffix}'; "
                    f"accepted: {', '.join(SUFFIXES)}"
                )
            if not path.parent.is_dir():
                raise OutputError(f"{path}: cannot write: the folder {path.parent} does not exist")
        return found

    def _output_files(self, option: str, texts: Sequence[str]) -> list[tuple[str, Path]]:
        found: list[tuple[str, Path]] = []
        for text in texts:
            match = _NAMED.fullmatch(text)
            if match is None and len(self.outputs) != 1:
                raise PyahirError(
                    f"{option} {text}: which pipe? accepted: PIPE=FILE with PIPE one of "
                    f"{', '.join(self.outputs) or 'none'}"
                )
            name = next(iter(self.outputs)) if match is None else match[1]
            name = self._pipe(option, name, self.outputs)
            if name in (other for other, _ in found):
                raise PyahirError(f"{option}: two files for pipe '{name}'; accepted: one")
            found.append((name, Path(text if match is None else match[2])))
        return found

    def counts(
        self,
        texts: Sequence[str],
        words: Mapping[str, Sequence[int]],
        golden: Mapping[str, Sequence[int]],
    ) -> dict[str, int | None]:
        """Say how many words to wait for: what was given, else golden words, else the frames."""
        found: dict[str, int | None] = dict.fromkeys(self.outputs)
        if self.files is not None:
            source, target = self.files.manifest["input"], self.files.manifest["output"]
            frames = len(words.get(source["pipe"], ())) // design.frame_words(source)
            found[target["pipe"]] = frames * design.frame_words(target) or None
        found |= {name: len(items) for name, items in golden.items()}
        for text in texts:
            match = _NAMED.fullmatch(text)
            if match is None or not match[2].isdecimal() or int(match[2]) == 0:
                raise PyahirError(f"--expect {text}: accepted is PIPE=COUNT, a number from 1 on")
            name = self._pipe("--expect", match[1], self.outputs)
            if name in golden and int(match[2]) != len(golden[name]):
                raise DataError(
                    f"--expect {text}: there are {len(golden[name])} golden words; "
                    "accepted: as many"
                )
            found[name] = int(match[2])
        return found

    def values(self, pipe: str, words: Sequence[int]) -> list[int | None]:
        """Give words as values of the pipe's type; None for what is undefined."""
        word = self.outputs[pipe]
        return [None if bits == UNDEFINED else word.decode(bits) for bits in words]

    def contents(self, pipe: str, path: Path, result: SimulationResult) -> bytes:
        """Give the contents of an output file: values, or a network's codes (N, C, H, W)."""
        words = result.outputs[pipe]
        if UNDEFINED in words:
            raise DataError(f"{path}: pipe '{pipe}' gave undefined words; nothing is written")
        row = self._stream(pipe)
        if row is not None and path.suffix == ".npy":
            return array_file(design.codes_of_words(row, words))
        word = self.outputs[pipe]
        return words_file(path, [word.decode(bits) for bits in words], word)
