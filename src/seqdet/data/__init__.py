"""From recordings and labels to batches; nothing here knows a detector.

What a folder holds: ``dataset`` finds the recordings of its splits, ``layouts`` (``rvt`` is one) says how tensors and
labels lie in it, ``labels``, ``classes`` and ``detections`` read its boxes, ``checking`` what is missing or cannot be.
How frames are made: ``frames`` cuts a recording into windows or takes the pictures of a video, ``precompute`` writes
them to tensor files (``store``, and ``description`` of what is in one), ``estimate`` says what that takes, ``cached``
makes them as they are asked for, ``sources`` chooses. What is trained on: ``clips``, whose labels ``joining`` gives to
windows, changed by ``augmentation``, by the ``appearance`` of pictures and by ``faults`` of a sensor, in the order of
``schedule``.
"""
