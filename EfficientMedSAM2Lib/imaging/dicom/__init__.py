"""Reading DICOM: which files are one scan, where its slices lie by their own positions, and their voxels.

``headers`` reads files, ``series`` decides which of their frames are the scan, ``stack`` makes a grid of positions,
``voxels`` decodes and rescales, ``reader`` is what other rooms call, ``segmentations`` reads DICOM SEG.
"""
