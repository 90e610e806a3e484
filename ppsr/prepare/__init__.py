"""Making data sets: one module per command of `ppsr prepare`."""
