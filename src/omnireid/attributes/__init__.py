"""Attributes of people from embeddings: a head, its file, its training and its scores. Nothing here needs torch."""
