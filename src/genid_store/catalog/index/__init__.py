"""An index of the store that can be thrown away: made from the files, refreshed by their stamps."""
