"""Ways to printers."""
