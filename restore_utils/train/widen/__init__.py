"""Training of the network that draws sides: footage in, weights for `--model FILE` out."""
