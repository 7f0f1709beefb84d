"""Samples → weights, in plain PyTorch."""
