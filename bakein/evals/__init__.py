"""The frozen evaluation: counts per problem, never a rate; the rates are analysis."""
