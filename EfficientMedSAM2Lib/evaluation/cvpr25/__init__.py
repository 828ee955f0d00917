"""The protocol of the CVPR 2025 challenge "Foundation Models for Interactive 3D Biomedical Image Segmentation"."""
