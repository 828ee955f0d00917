"""Training: manifests, samples, teachers, losses and the training loop (extra: `pip install efficient-medsam2[training]`)."""
