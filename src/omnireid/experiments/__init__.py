"""Experiments as tables: many runs that differ in one thing, resumable, with a published value beside each."""
