"""Questions to the clouds that a stack stands on, asked when its lock is made and answered from it ever after."""
