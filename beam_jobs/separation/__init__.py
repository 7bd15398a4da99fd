"""Separation of recordings of any length into their speakers, and scores of the result."""
