"""Formats that outlive a process, each versioned and validated when it is read."""
