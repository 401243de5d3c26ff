"""Training of the enlargers."""
