"""Electron tomograms from limited-angle tilt series by fitting a coordinate network."""

__version__ = "0.1.0"
