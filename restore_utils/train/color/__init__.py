"""Training of the colour network, on photographs and colour films.

stock     grey pictures as film stocks made them      lessons   pictures with seeds that have faults
losses    what is to be small                         pictures  clips and photographs in memory
critic    what tells guesses from true colours, by choice
run       resumable, on GPU or CPU
"""
