"""What is done to real views before they are reconstructed: one step a file, each over one view at a time."""
