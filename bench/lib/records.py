"""What was measured: lists of values by name, one value for each round (or several), and what went wrong."""

from statistics import median


class Records:
    def __init__(self):
        self.values = {}
        self.notes = {}
        self.failures = []

    def add(self, name, value):
        self.values.setdefault(name, []).append(value)

    def note(self, name, text):
        """Counts how often something was seen that is no number, such as which signal ended a query."""
        seen = self.notes.setdefault(name, {})
        seen[text] = seen.get(text, 0) + 1

    def fail(self, what):
        self.failures.append(what)

    def has(self, name):
        return bool(self.values.get(name))

    def median(self, name):
        return median(self.values[name]) if self.has(name) else None

    def spread(self, name):
        return (min(self.values[name]), max(self.values[name])) if self.has(name) else None

    def seen(self, name):
        return ", ".join(f"{text} ({n}x)" for text, n in sorted(self.notes.get(name, {}).items()))
