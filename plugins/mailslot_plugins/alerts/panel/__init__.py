"""The panel's texts for alerts, and its page with open alarms, recipients and schedule."""
