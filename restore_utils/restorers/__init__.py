"""The restorers: a folder for each, and how a name becomes a model (`registry`)."""
