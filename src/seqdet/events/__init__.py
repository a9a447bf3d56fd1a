"""Recordings of event cameras: read, filtered, cut, made into tensors, made up, written; numpy and numba, never torch.

``files.open_recording`` opens any; a format is a module of its own and a line in ``formats``. ``array`` has the columns
that all speak of, ``reading`` what readers share, ``sieve`` and ``accounts`` what is left out and how it is told;
``slicing`` cuts windows and ``tensors`` makes frames of them. A simulated ``sensor`` has a ``photoreceptor`` and a
``readout``. Nothing is exported here: the command line offers ``sensor`` without loading numpy.
"""
