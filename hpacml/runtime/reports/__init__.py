"""Measurements of regions: counters, what guards have done, reports, and ranges for profilers."""
