"""The browser front end: a gateway for all users, and one process with Slicer's core for each of them."""
