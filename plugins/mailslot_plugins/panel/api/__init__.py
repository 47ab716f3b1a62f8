"""The device for programs: what the pages show and do, as JSON, and the document that describes it."""
