"""What a request costs: Moongate side by side with its peers, in one run, against one backend.

``make bench`` prints Markdown tables; ``python -m benchmarks --help`` says what can be chosen. Load goes to 127.0.0.1
only.
"""
