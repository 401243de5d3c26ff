"""Networks, one file each: nothing but torch modules with the names and shapes of published state dicts."""
