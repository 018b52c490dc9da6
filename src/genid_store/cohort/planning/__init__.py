"""From tables and a selection to membership rows; pure: no file is read or written here."""
