"""Drawn people: data sets without a photograph."""
