"""The HPAC-ML paper's evaluation, of all five applications: its tables II and III, and its figures 5 to 9."""
