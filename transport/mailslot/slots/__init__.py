"""The settings slots, the records behind them, and ``mailslot.toml``."""
