"""Separating files of any length, window by window."""
