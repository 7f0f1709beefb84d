"""Drawn people: data sets that contain no photograph."""
