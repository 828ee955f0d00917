"""One slice: what is asked of the network, and what it says."""
