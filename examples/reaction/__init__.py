"""Robertson's stiff reaction on a plate by py-pde, implicitly or by a network at each point; see README.md."""
