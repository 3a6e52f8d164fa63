"""The documentation: its code blocks, its navigation, its references and its pictures."""
