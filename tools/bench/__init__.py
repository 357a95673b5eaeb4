"""Measurements, each against the peer that a reader would otherwise use, interleaved, with equal results."""
