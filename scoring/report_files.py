"""The files of a report on an evaluation, in the folder that is given for it."""

TEXT, DOCUMENT, PAGE = "report.txt", "report.json", "report.html"

AUDIO = "audio"
"""The folder of what the page plays and shows."""
