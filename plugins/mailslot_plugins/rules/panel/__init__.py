"""The panel's texts for the rules for sending."""
