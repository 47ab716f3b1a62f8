"""Alerts: conditions of the device, for example low toner, mailed once per incident through ``alert.smtp``."""
