"""Code with which several passes build IR."""
