"""Training: manifests, samples, teachers, losses and the loop (`pip install efficient-medsam2[train]`)."""
