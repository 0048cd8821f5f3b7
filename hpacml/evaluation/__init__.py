"""What surrogates do to a whole program: `hpacml.evaluate`. It needs the extra `train`, for its scores and pictures."""
