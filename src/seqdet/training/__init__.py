"""Training on Lightning, which nothing outside this package imports but two modules of ``compat``.

``fit`` trains a detector and goes on where a training stopped. ``module`` is what Lightning calls at every step,
``optimizers`` what moves the weights. ``checkpoints`` are what a training leaves on its way, ``monitoring`` what it
shows, and ``processes`` starts the others of several that train together.
"""
