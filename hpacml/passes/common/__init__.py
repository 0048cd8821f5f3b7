"""What several passes build IR with."""
