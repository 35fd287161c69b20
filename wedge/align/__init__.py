"""Alignment of a tilt series on itself: what is wrong with its geometry, and how far each view is shifted and turned."""
