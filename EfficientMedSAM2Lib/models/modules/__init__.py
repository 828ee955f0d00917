"""The parts of the network, as torch modules."""
