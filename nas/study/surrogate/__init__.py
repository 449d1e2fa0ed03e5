"""What a search believes of architectures that were not graded, and which it asks for next.

description.py   an architecture as numbers that carry from space to space
gaussian.py      a Gaussian process over them: mean and error of a score
prior.py         what earlier runs expect, and how much of that holds in this one
improvement.py   the hypervolume that an architecture of known latency is expected to add
"""
