"""A detector on recordings, videos and pictures, and the files of what it finds."""
