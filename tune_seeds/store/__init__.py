"""The experiment on disk: header, journal, and what is rebuilt from them."""
