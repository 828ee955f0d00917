"""What is kept of a run: its settings, content hashes, outcomes, the ledger, and the folders of cases."""
