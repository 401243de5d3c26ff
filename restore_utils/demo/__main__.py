"""`python -m restore_utils.demo FOLDER` makes, ruins and restores a small film."""

from restore_utils.demo import main

main()
