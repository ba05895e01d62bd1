"""Speed and memory as ratios measured in one run: ``python -m prdlib benchmark``. Nothing else imports this room."""
