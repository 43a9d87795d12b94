"""How each kind of question is judged, and what it shows beside its verdict."""
