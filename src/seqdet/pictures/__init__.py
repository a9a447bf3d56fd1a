"""Videos and folders of images as sequences of pictures: which frame is which, when it was taken, and reading any.

Numpy, PyAV and Pillow, never torch. ``sequence`` opens either kind, ``fitting`` makes pictures of any size the frames
of a detector.
"""
