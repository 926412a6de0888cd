"""What a request costs: Moongate side by side with its peers, in one run, against one backend.

``make bench`` installs the peers that PyPI has and prints Markdown tables; ``python -m benchmarks --help`` says what
can be chosen. ``make endurance`` moves large bodies, and holds connections that do next to nothing. Load goes to
127.0.0.1 only.

Each proxy has one worker on a CPU that it shares with no generator where there are two. What counts is the CPU time of
the whole process, user and system, which drifts less with other work on the machine than a rate does. The proxies take
turns in each round, and ratios are taken within a round.

``rows`` says what is measured and ``peers`` on whom; ``generators`` make the load, ``measure`` reads /proc, ``report``
prints.
"""
