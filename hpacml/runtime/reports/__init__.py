"""What is measured of regions."""
