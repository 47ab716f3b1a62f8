"""Where tokens come from: the flows that obtain a grant, and sources that have a token already.

Each is found by its entry point in the group `mailslot.token_sources`: a flow is an object that satisfies
`mailslot.oauth.flow.Flow`; any other source is a function that takes the settings of its own and returns a
`mailslot.TokenSource`.
"""
