"""Files and folders: verified downloads, a folder held against other runs, a second copy of what is finished."""
