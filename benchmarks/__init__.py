"""dfovsdb beside what a user would pick instead, on one machine against one real ovsdb-server.

make bench                everything, in half an hour
make bench QUICK=1        a usable answer in under two minutes

rows.py      what the tables hold, and the writer that fills and changes them
clients/     a program for each client; the harness starts each in a process of its own
process.py   such a process, seen from outside: what it says, its CPU time and its memory
relay.py     counts bytes and cuts connections
work.py      the kinds of work
report.py    medians, spread, ratios; table, JSON and plot
"""
