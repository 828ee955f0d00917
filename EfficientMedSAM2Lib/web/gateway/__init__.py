"""What the network sees: who may come in, and one session process for each browser."""
