"""The pages for people: rendered here, complete without a script, and kept up to date by events where there is one."""
