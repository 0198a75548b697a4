"""The report: everything that the experiments left behind, as one page that needs no network."""
