"""What Lightning trains, one stage a file: prompts on slices, clips with memory, distillation."""
