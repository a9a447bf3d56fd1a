"""Open HDF5 files that somebody else wrote, and take from them only what they hold themselves."""

from __future__ import annotations

from pathlib import Path

import h5py
import hdf5plugin

from ..checks import InputError
from .hdf5_heaps import check_heaps

DAMAGE = (OSError, RuntimeError, ValueError, TypeError, KeyError, OverflowError, AttributeError)
"""What h5py raises on a damaged file, and Python where its values are of another kind than they should be."""


def open_hdf5_file(path: Path) -> h5py.File:
    """The file, open for reading, with the filters that hdf5plugin brings.

    Raises:
        InputError: if it holds what the library does not survive.
        OSError: if it cannot be read, or is no whole HDF5 file.
    """
    hdf5plugin.register(force=False)
    check_heaps(path)
    return h5py.File(path, "r", locking="best-effort")


def find(group: h5py.Group, name: str) -> h5py.Dataset | h5py.Group | None:
    """What lies in a group under a name, with slashes between its parts; None if nothing does.

    Raises:
        InputError: if it lies elsewhere: a file may name any file of this machine as a part of its own, which is then
            read, or opened for good if it is a pipe.
    """
    found: h5py.Group | h5py.Dataset | h5py.Datatype = group
    for part in name.split("/"):
        if not isinstance(found, h5py.Group) or (link := found.get(part, getlink=True)) is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise InputError(f"{group.file.filename} must hold '{name}' itself, and has a link there.")
        found = found[part]
    if isinstance(found, h5py.Dataset) and (found.is_virtual or found.external):
        raise InputError(f"{group.file.filename} must hold '{name}' itself, and takes it from other files.")
    return found if isinstance(found, h5py.Dataset | h5py.Group) else None


def check_filters(dataset: h5py.Dataset, path: Path) -> None:
    """Raise ``InputError`` if the HDF5 library lacks what a dataset is compressed with."""
    for number, name in filters(dataset):
        if not h5py.h5z.filter_avail(number):
            named = f"{number} ({name})" if name else f"{number}"
            raise InputError(
                f"{path} is compressed with the HDF5 filter {named}, which cannot be loaded. Install it, most by "
                "pip install -U hdf5plugin, or write the file again with gzip or without a filter."
            )


def filters(dataset: h5py.Dataset) -> list[tuple[int, str]]:
    """Number and name of each filter that the chunks of a dataset pass, in the order of writing."""
    properties = dataset.id.get_create_plist()
    found = map(properties.get_filter, range(properties.get_nfilters()))
    return [(number, name.decode(errors="replace")) for number, _, _, name in found]
