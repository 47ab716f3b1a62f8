"""Alarms: what is wrong with the device now, who is told, and when."""
