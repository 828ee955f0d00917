"""What is kept in the scene: prompts of segments, time points of sequences, cases of a cohort."""
