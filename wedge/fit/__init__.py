"""The fit of a field to a tilt series: configuration, data term, the loop, checkpoints."""
