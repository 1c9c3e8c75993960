"""Values computed by the original, and the means to rebuild the weights behind them."""
