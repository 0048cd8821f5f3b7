"""The training of surrogates from databases: `hpacml.train`."""
