"""The commands that tell about a finished data set, our own or anybody's: stats, audit, report, view, card."""
