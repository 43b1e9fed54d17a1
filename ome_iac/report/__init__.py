"""What a person sees: progress while something takes long, and the views of one plan."""
