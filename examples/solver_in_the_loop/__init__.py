"""A correction of a coarse solver, trained through its time loop; see README.md."""
