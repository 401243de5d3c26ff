"""A restoration as a folder that can be stopped and resumed."""
