"""The composition root: what a configuration becomes on the driver and on the workers."""
