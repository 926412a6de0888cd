"""Regular expressions for the table; the graph, which stands below it, asks the same module whether they are any."""

from routes.regex import Pattern, compile_pattern, pattern_fault

__all__ = ["Pattern", "compile_pattern", "pattern_fault"]
