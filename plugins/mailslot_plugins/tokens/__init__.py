"""Token sources: flows that obtain a grant, and sources that already have a token.

Each is found by its entry point in the group `mailslot.token_sources`: a flow is an object with the methods of
`mailslot.oauth.flow.Flow`; any other source is a function that takes its settings and returns a
`mailslot.TokenSource`.
"""
