"""How good a checkpoint's vectors are: zero-shot, retrieval, few-shot, each with its uncertainty and its baselines."""
