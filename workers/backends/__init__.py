"""What computes a network: one module per library, each imported only where it is used, and the choice among them."""
