"""A study is read back from its journal, and checked against what it declared."""
