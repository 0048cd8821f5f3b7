"""Energies of a ligand docked to a protein; see README.md."""
