"""The section *Learn*: a structure of the user's own from finished cases, learnt in a process of its own."""
