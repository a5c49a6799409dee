"""Parts that each break one rule of the contract."""
