"""Samples: manifests, slices and clips cut out of scans, augmentation, synthesis, simulated prompts, batches."""
