"""What an event sensor wrote: readers, writers, tensors. numpy and numba, never torch."""
