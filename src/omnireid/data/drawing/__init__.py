"""Drawn pedestrians: who they are, how they are built, and the cameras and places that see them."""
