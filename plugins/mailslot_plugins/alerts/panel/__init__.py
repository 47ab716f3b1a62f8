"""What the panel is told of alarms: words, and the page of what is wrong now, who is told, and when."""
