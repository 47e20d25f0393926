"""The page of `forewarn backtest --report`: what a data scientist needs to choose a sensitivity."""
