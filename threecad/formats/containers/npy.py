"""NPY: one array of numbers behind a header that NumPy wrote.

Only plain arrays are read, and pickled objects never.
"""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from threecad.formats.containers import Fault, exactly

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from threecad.formats.containers import Read

_HEADER_BYTES = 1000
"""Of an array's header; NumPy writes 118."""
_MOST_AXES = 32
"""As many as every NumPy takes."""
_DAMAGED = "a .npy whose header is damaged; expected type, order and shape of an array"
_PLAIN = re.compile(r"[\w'\"<>|=?{}():,. \n]*", re.ASCII)
_OLD = re.compile(r"\d[A-Za-z_]")
_KEYS = {"descr", "fortran_order", "shape"}
_DESCR = re.compile(r"([<>|=]?)([a-zA-Z?])(\d{0,4})")
_BYTES = {"f": (2, 4, 8), "u": (1, 2, 4, 8), "i": (1, 2, 4, 8), "b": (1,), "?": (0,)}


@dataclass(frozen=True, slots=True)
class Npy:
    """An array as its header states it, of real numbers of at most 64 bits."""

    shape: tuple[int, ...]
    kind: np.dtype[Any]
    fortran: bool
    start: int

    @staticmethod
    def parse(read: Read) -> Npy:
        version = exactly(read, 6, 2)
        if version not in (b"\1\0", b"\2\0"):
            raise Fault(f"a .npy of version {version[0]}.{version[1]}; expected 1.0 or 2.0, as numpy.save writes")
        field = 2 if version[0] == 1 else 4
        length = int.from_bytes(exactly(read, 8, field), "little")
        if length > _HEADER_BYTES:
            raise Fault(f"a .npy with a header of {length} bytes; expected that of a plain array of numbers")
        start = 8 + field + length
        text = exactly(read, 8 + field, length).decode("latin-1")
        shape, fortran, kind = _header(text)
        return Npy(shape, kind, fortran, start)

    def refuse_unless_whole(self, available: int) -> None:
        """Fault where a file of so many bytes ends before its array does, or goes on behind it."""
        found, stated = available - self.start, math.prod(self.shape) * self.kind.itemsize
        if found != stated:
            what = "cut off" if found < stated else "not one array"
            raise Fault(f"{what}: its header states {stated} bytes of shape {self.shape}, {found} follow")

    def decode(self, data: memoryview) -> NDArray[Any]:
        return np.frombuffer(data[self.start :], self.kind).reshape(self.shape, order="F" if self.fortran else "C")


def _header(text: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether Fortran order, and type of number.

    A header is written as Python's literals. NumPy's own reader mends those of Python 2, with a warning, so they are read here:
    none but a few plain characters, and no number with a letter behind.
    """
    if not _PLAIN.fullmatch(text) or _OLD.search(text):
        raise Fault("a .npy whose header is damaged, or of an array with fields; expected a plain array of numbers")
    try:
        literal = ast.parse(text.strip(), mode="eval").body
        told = ast.literal_eval(literal)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise Fault(_DAMAGED) from None
    if not isinstance(literal, ast.Dict) or len(literal.keys) != len(_KEYS) or told.keys() != _KEYS:
        raise Fault(_DAMAGED)
    descr, fortran, shape = told["descr"], told["fortran_order"], told["shape"]
    kind = _DESCR.fullmatch(descr) if isinstance(descr, str) else None
    if kind is None:
        raise Fault("a .npy that states no plain type of number; expected floats or whole numbers")
    if int(kind[3] or 0) not in _BYTES.get(kind[2], ()):
        what = {
            "c": "complex numbers",
            "O": "pickled objects, which are never opened",
            "U": "text",
            "S": "text",
            "V": "raw bytes",
        }
        raise Fault(f"a .npy of {what.get(kind[2], f'type {kind[2]}{kind[3]}')}; expected real numbers of at most 64 bits")
    if not isinstance(fortran, bool) or not isinstance(shape, tuple) or any(type(side) is not int or side < 0 for side in shape):
        raise Fault(_DAMAGED)
    if len(shape) > _MOST_AXES:
        raise Fault(f"a .npy of {len(shape)} axes; expected at most {_MOST_AXES}")
    return shape, fortran, np.dtype(descr)
