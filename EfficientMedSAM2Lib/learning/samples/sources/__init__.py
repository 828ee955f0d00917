"""What training samples are made from: loaded images, the index of their objects, label unions, pseudo-labels."""
