"""The kinds of charts, one file each: what they hold, and the tables that stand for them where nothing is drawn."""
