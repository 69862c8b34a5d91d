"""Collections and files of hits."""
