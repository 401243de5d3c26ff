"""Training of the film restorers."""
