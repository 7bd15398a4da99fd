"""What `make demo` shows: a corpus out of nothing, and its dataset read back."""
