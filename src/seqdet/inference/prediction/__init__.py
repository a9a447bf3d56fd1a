"""A detector on recordings, videos and pictures, and the files of what it finds.

``inputs`` finds what a user names and goes through it window by window; ``recordings`` follows the objects and writes.
"""
