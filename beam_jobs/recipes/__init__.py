"""Recipes of mixtures: which utterances meet, when, how loud, and in which room and noise."""
