"""From directive text and Python functions to hpacml IR."""
