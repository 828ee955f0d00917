"""Teachers: trained networks whose masks and embeddings the student learns from, behind one small interface."""
