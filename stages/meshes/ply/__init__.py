"""PLY, as text or binary."""
