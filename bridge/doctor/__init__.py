"""`python -m bridge doctor`: walks the path of a call and says for each failure what to change.

walk      which check comes after which, one at a time, each with its own patience
checks    the list; `configuration`, `parts`, `homeserver`, `finding_us`, `web`, `doors`,
          `federation`, `media`, `room` hold the probes
visit     what the probes share, and what has to be undone afterwards
findings  what a probe answers: keys and values, no sentence; `words` has the sentences
"""
