"""Components of PaddleGAN in ppsr, and of ppsr in PaddleGAN; `ppsr.compat.ppgan` registers the latter."""
