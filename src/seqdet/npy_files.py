"""Arrays in npy files that somebody else wrote: within the memory that the file itself takes, or refused.

numpy's own reader raises errors of a dozen classes for damaged headers, and takes the memory that a header claims.
"""

from __future__ import annotations

import io
import tokenize
import warnings
from typing import IO, NamedTuple

import numpy as np

LONGEST_HEADER = 1 << 16  # bytes


class Header(NamedTuple):
    """What an npy file says of its array; ``bytes`` of it come before the numbers."""

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype
    bytes: int


def read_header(file: IO[bytes]) -> Header:
    """The header of an npy file, from its begin on; more than the header may be read. Raises ValueError if damaged."""
    file = io.BytesIO(file.read(LONGEST_HEADER))
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        with warnings.catch_warnings(action="ignore"):  # about files of Python 2
            shape, is_fortran, dtype = read(file)
    except (ValueError, TypeError, KeyError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise ValueError(f"its header is damaged: {(str(error) or repr(error)).splitlines()[0]}") from error
    if min(shape, default=0) < 0:
        raise ValueError(f"its header is damaged: it says the shape {shape}")
    return Header(shape, is_fortran, dtype, file.tell())


def read_array(file: IO[bytes]) -> np.ndarray:
    """The array in an npy file that can be sought in. Raises ValueError if it is damaged or holds Python objects."""
    header = read_header(file)
    if header.dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read")
    count = 1
    for size in header.shape:
        count *= size  # in Python's numbers, which do not wrap
    file.seek(0, io.SEEK_END)
    if file.tell() - header.bytes < count * header.dtype.itemsize:
        raise ValueError(f"it ends before the {count} entries that its header tells of")
    file.seek(header.bytes)
    numbers = np.frombuffer(file.read(count * header.dtype.itemsize), header.dtype, count)
    return numbers.reshape(header.shape, order="F" if header.is_fortran else "C")
