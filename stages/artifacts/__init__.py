"""What one stage hands to the next: views, splats and vectors, to bytes and back."""
