"""The parts of `make demo` that need no command: a spoken corpus, and reading the dataset back."""
