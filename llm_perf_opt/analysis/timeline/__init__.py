"""Where a device's time went: pure functions on the columns of `records.columns`."""
