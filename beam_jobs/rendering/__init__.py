"""Rendering: a recipe becomes audio."""
