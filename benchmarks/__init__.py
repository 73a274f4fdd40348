"""This pack and its rivals measured side by side: alternating, in one run, on one machine."""
