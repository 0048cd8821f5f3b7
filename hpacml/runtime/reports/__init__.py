"""Measurements of regions: counters, reports, and ranges for profilers."""
