"""The toy problem: moving digits, made when they are asked for.

As videos to train on, and as recordings of an event camera in which what stands still vanishes. Nothing about
recordings of others needs this room.
"""
