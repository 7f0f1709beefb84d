"""Tracks: boxes of a video become tracklets, and tracklets become people, within one camera and across cameras."""
