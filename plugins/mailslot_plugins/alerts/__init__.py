"""Alerts: conditions of the device, such as toner low, mailed once an incident through ``alert.smtp``."""
