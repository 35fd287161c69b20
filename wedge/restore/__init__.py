"""A tomogram without noise and missing wedge, by what its own two halves teach a network about its specimen."""
