"""The parts of `convert-hpacml-to-gpu`."""
