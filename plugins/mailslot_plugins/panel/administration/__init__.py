"""What concerns the device as a whole, and who may see its panel."""
