"""HOW it runs: the command line, the recipe, the plan, the scheduler and its two placements."""
