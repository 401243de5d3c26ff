"""Training of the enlargers.

stretches     clean pieces of film     degradation   what old recordings lost     codecs   real ones
samples       windows of worn film     stock         the newest of them           losses   what is to be least
run           the training
"""
