"""Text as it stands in Markdown; pure."""


def escaped(text: str) -> str:
    """Give plain text so that Markdown, in a table too, shows it as it is; what is in backticks stays."""
    parts = text.split("`")
    for number in range(0, len(parts), 2):
        for character in ("\\", "*", "<", "|"):
            parts[number] = parts[number].replace(character, f"\\{character}")
    return "`".join(part.replace("|", "\\|") if number % 2 else part for number, part in enumerate(parts))
