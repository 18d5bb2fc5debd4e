"""Counts every operation of a training run and holds the total against the compute thresholds of the law."""

__version__ = "0.1.0"
