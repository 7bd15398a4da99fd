"""The formats that outlive a process: each is versioned, and validated when it is read."""
