"""HTML pages: their frame and templates, and recordings to look at and to listen to."""
