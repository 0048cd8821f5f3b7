"""Heat conduction on a plate: the running example of the HPAC-ML paper; see README.md."""
