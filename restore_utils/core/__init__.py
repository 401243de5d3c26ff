"""The interface of a model, the runner that feeds it, and what turns simple things into models. Begin with `model`."""
