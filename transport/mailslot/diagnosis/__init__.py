"""Diagnoses errors: the cause, one sentence, who must act, and whether a new token would help."""
