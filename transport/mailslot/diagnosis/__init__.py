"""Why it does not work: one cause, one sentence, who must act, and whether a new token would help."""
