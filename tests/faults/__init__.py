"""The fault matrix: kill, freeze, cut and flood NAQ, then check the history of what ran."""
