"""The fault campaign: `python tests/torture/campaign.py`. README.md beside this file says what each kind of fault does."""
