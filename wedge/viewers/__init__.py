"""Programs that show volumes: which are installed, and what each needs to show one with its scale, its hand and a fitting contrast."""
