"""The rules for what is sent: to whom, as whom, with a copy to whom, and when."""
