"""The words of a study: seeds, rungs, metric, the ledger of reports, the events that fill it."""
