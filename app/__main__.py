"""``python -m app`` is ``moongate``."""

from app.cli import main

if __name__ == "__main__":
    main()
