"""What decides at run time whether a model may be used: points that guards reject, and checks by the original code."""
