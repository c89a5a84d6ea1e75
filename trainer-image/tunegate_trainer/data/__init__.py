"""Rows of chat data: read, split, compared, rendered and tokenized. Every stage that touches data goes through here."""
