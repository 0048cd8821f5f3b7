"""European call options on a binomial lattice; see README.md."""
