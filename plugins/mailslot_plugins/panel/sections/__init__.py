"""The sections of the settings beside the slots: where faxes go, what is printed, who is told."""
