"""Training on Lightning, which nothing outside this package imports.

``fit`` trains a detector and goes on where a training stopped. ``module`` is what Lightning calls at every step,
``optimizers`` what moves the weights. ``checkpoints``, ``tensorboard`` and ``progress`` are what a training leaves and
says on its way, and ``processes`` starts the others of several that train together.
"""
