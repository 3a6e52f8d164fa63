"""What is mapped, for whom and until when.

``table`` is the truth in memory, with an index for every question a request asks; ``plan`` turns an allowed
request into a change without making it; ``store`` is the same on disk. The store apart, nothing here does I/O.
"""
