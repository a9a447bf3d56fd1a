"""Training on Lightning, which nothing outside this package imports."""
