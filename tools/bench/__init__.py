"""Measurements, run by hand: each prints JSON."""
