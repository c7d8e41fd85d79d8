"""What the engine gsplat computes with, in torch: a batch of objects, their loss, and gsplat's drawing."""
