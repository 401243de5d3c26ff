"""Training: one's own networks, made from clean footage.

unet/   NoGAN, a U-Net from pairs of pictures, with fastai
film/   the film restorers, from shards of clean windows; plain torch and OpenCV
"""
