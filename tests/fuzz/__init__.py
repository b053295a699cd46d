"""Bad input by the thousand: every parser reads it or refuses it in words."""
