"""Datasets of mixtures: planned, rendered shard by shard, finished, read and verified."""
