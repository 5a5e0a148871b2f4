"""The session report: what a researcher reads in the morning.

``facts`` turns a session's records into one JSON value, ``figures`` turns that
into Vega-Lite specifications; both are pure.  ``render`` makes the page and
the pictures out of them.
"""
